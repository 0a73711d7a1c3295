#include "core/device.h"

#include <atomic>

#include "core/error.h"

namespace weft {

namespace {
std::atomic<Device> chosen_device{Device{}};
}

Device default_device() { return chosen_device.load(std::memory_order_relaxed); }
void set_default_device(Device device) { chosen_device = device; }

Device parse_device(const std::string& text) {
  if (text == "cpu") return {};
  if (text == "cuda") return {Device::Kind::cuda, 0};
  if (text.starts_with("cuda:") && text.size() > 5 && text.size() < 9 &&
      text.find_first_not_of("0123456789", 5) == std::string::npos)
    return {Device::Kind::cuda, std::stoi(text.substr(5))};
  throw ValueError(str("device: expected 'cpu', 'cuda' or 'cuda:<index>', got '", text, "'"));
}

}  // namespace weft
