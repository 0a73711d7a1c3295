#include "core/device.h"

#include "core/error.h"

namespace weft {

Device parse_device(const std::string& text) {
  if (text == "cpu") return {};
  if (text == "cuda") return {Device::Kind::cuda, 0};
  if (text.starts_with("cuda:") && text.size() > 5 && text.size() < 9 &&
      text.find_first_not_of("0123456789", 5) == std::string::npos)
    return {Device::Kind::cuda, std::stoi(text.substr(5))};
  throw ValueError(str("device: expected 'cpu', 'cuda' or 'cuda:<index>', got '", text, "'"));
}

}  // namespace weft
