// The exceptions of the library and the way their messages are built. bindings/ maps them to
// Python: ValueError (shapes, values), TypeError (dtypes), IndexError, RuntimeError (devices, states),
// MemoryError.
#pragma once
#include <sstream>
#include <stdexcept>
#include <string>

namespace weft {

struct ValueError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct TypeError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct IndexError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct StateError : std::runtime_error {  // RuntimeError in Python: a device or a state
  using std::runtime_error::runtime_error;
};

struct OutOfMemory : std::runtime_error {  // MemoryError in Python
  using std::runtime_error::runtime_error;
};

// str("a ", 1, shape) joins everything that has an operator<<.
template <class... Parts>
std::string str(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

// check_value(ok, "conv2d: ", ...) throws when !ok; the message is built only then.
template <class... Parts>
void check_value(bool ok, const Parts&... parts) {
  if (!ok) throw ValueError(str(parts...));
}
template <class... Parts>
void check_type(bool ok, const Parts&... parts) {
  if (!ok) throw TypeError(str(parts...));
}
template <class... Parts>
void check_state(bool ok, const Parts&... parts) {
  if (!ok) throw StateError(str(parts...));
}

}  // namespace weft
