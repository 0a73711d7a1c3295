#include <cstring>

#include "cases.h"

namespace {
Case* first_case = nullptr;
bool all_right = true;
}  // namespace

Case::Case(const char* name, void (*run)()) : name(name), run(run), next(first_case) { first_case = this; }

cudaStream_t new_stream() {
  cudaStream_t stream = nullptr;
  cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  return stream;
}

void print_error(cudaError_t error) { std::printf("%s\n", cudaGetErrorName(error)); }

void expect(bool right, const char* what) {
  if (right) return;
  if (all_right) std::printf("wrong: %s\n", what);
  all_right = false;
}

int main(int count, char** names) {
  for (int i = 1; i < count; ++i) {
    const Case* found = first_case;
    while (found != nullptr && std::strcmp(found->name, names[i]) != 0) found = found->next;
    if (found == nullptr) return std::printf("no case %s\n", names[i]), 1;
    found->run();
    print_error(cudaDeviceSynchronize());
  }
  return 0;
}
