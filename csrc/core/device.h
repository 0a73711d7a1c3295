// Where an array's memory lies.
#pragma once
#include <ostream>
#include <string>

namespace weft {

struct Device {
  enum class Kind : unsigned char { cpu, cuda };
  Kind kind = Kind::cpu;
  int index = 0;

  bool operator==(const Device&) const = default;
};

inline std::ostream& operator<<(std::ostream& out, const Device& device) {
  if (device.kind == Device::Kind::cpu) return out << "cpu";
  return out << "cuda:" << device.index;
}

// Where new arrays come to lie when nothing else is said, of the process; at first the cpu.
Device default_device();
void set_default_device(Device device);

// "cpu", "cuda", "cuda:1"; ValueError otherwise. Whether the device can be used is not asked here.
Device parse_device(const std::string& text);

}  // namespace weft
