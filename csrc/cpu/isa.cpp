#include "cpu/isa.h"

#include <atomic>
#include <cstdlib>

#include "backend.h"
#include "core/error.h"
#include "reference/kernels.h"

namespace weft::cpu {

// Each defined in table.cpp, once for every instruction set that CMake builds.
#define WEFT_DECLARE_TABLE(isa) \
  namespace isa {               \
  extern const Backend table;   \
  }
WEFT_DECLARE_TABLE(baseline)
#ifdef WEFT_HAS_AVX2
WEFT_DECLARE_TABLE(avx2)
#endif
#ifdef WEFT_HAS_AVX512
WEFT_DECLARE_TABLE(avx512)
WEFT_DECLARE_TABLE(avx512bf16)
#endif

namespace {

using Isa = NamedTable;

std::vector<Isa> find_isas() {
  std::vector<Isa> found = {{"reference", &reference::table}, {"baseline", &baseline::table}};
#ifdef WEFT_HAS_AVX2
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    found.push_back({"avx2", &avx2::table});
#endif
#ifdef WEFT_HAS_AVX512
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    found.push_back({"avx512", &avx512::table});
  if (found.back().table == &avx512::table && __builtin_cpu_supports("avx512bf16"))
    found.push_back({"avx512bf16", &avx512bf16::table});
#endif
  return found;
}

const std::vector<Isa>& isas() {
  static const std::vector<Isa> found = find_isas();
  return found;
}

const Isa& find(const std::string& name) {
  std::string names;
  for (const Isa& candidate : isas()) {
    if (name == candidate.name) return candidate;
    names += (names.empty() ? "" : ", ") + std::string(candidate.name);
  }
  throw ValueError(str("set_isa: this build and processor have ", names, "; got '", name, "'"));
}

const Isa& initial() {
  const char* wanted = std::getenv("WEFT_ISA");
  return wanted && *wanted ? find(wanted) : isas().back();
}

std::atomic<const Isa*>& active() {
  static std::atomic<const Isa*> current{&initial()};
  return current;
}

}  // namespace

const std::vector<NamedTable>& tables() { return isas(); }

const Backend& backend() { return *active().load(std::memory_order_relaxed)->table; }

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const Isa& candidate : isas()) names.push_back(candidate.name);
  return names;
}

std::string isa() { return active().load()->name; }

void set_isa(const std::string& name) { active() = &find(name); }

}  // namespace weft::cpu
