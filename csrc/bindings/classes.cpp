// How objects of the module's classes come to be.
#include "bindings/bindings.h"
#include "core/error.h"

namespace weft {

namespace {

PyTypeObject* type_of(py::handle cls) { return reinterpret_cast<PyTypeObject*>(cls.ptr()); }

// As pybind11's own. Being another function it makes Python refuse the __new__ that classes inherit from that
// one.
PyObject* make(PyTypeObject* type, PyObject*, PyObject*) { return py::detail::make_new_instance(type); }

std::string class_name(PyTypeObject* type) {
  const std::string name = type->tp_name;
  return name.substr(name.rfind('.') + 1);
}

PyObject* find_member(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  PyObject* given = nullptr;
  static const char* keywords[] = {"value", nullptr};
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O", const_cast<char**>(keywords), &given)) return nullptr;
  try {
    const py::dict members = py::handle(reinterpret_cast<PyObject*>(type)).attr("__members__");
    std::string names;
    for (const auto& [name, member] : members) {
      if (PyIndex_Check(given) &&
          py::int_(py::reinterpret_borrow<py::object>(member)).equal(py::handle(given)))
        return member.inc_ref().ptr();
      names += (names.empty() ? "" : ", ") + std::string(py::str(name));
    }
    PyErr_SetString(PyIndex_Check(given) ? PyExc_ValueError : PyExc_TypeError,
                    str(class_name(type), ": ", to_text(py::repr(given)),
                        " is not the number of a member; they are ", names)
                        .c_str());
  } catch (py::error_already_set& error) {
    error.restore();
  }
  return nullptr;
}

int already_made(PyObject*, PyObject*, PyObject*) { return 0; }

}  // namespace

void constructed_only(py::handle cls) { type_of(cls)->tp_new = &make; }

void members_only(py::handle cls) {
  // They would set the value of a member that there is.
  for (const char* name : {"__init__", "__setstate__", "__getstate__"}) py::delattr(cls, name);
  cls.attr("__reduce__") = py::cpp_function(
      [](const py::object& self) {
        return py::make_tuple(py::type::of(self), py::make_tuple(py::int_(self)));
      },
      py::name("__reduce__"), py::is_method(cls));
  // Last, for Python sets these anew when attributes of such names go.
  type_of(cls)->tp_new = &find_member;
  type_of(cls)->tp_init = &already_made;
}

}  // namespace weft
