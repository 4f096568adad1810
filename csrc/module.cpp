// The Python module of a compiled library; it contains nothing but how it was built. Importing it loads the
// library, whose static initialisers register the operators with torch; they are called as
// torch.ops.internet.*. Compiled once for each library, with -DINTERNET_MODULE=_C or _C_cuda, in the limited
// API: one binary for every Python from 3.10 on.

#include <Python.h>

#include "build_info.h"  // written by setup.py

#define STRING_(x) #x
#define STRING(x) STRING_(x)
#define CONCATENATE_(a, b) a##b
#define CONCATENATE(a, b) CONCATENATE_(a, b)

static PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    "internet." STRING(INTERNET_MODULE),
    "Registers the operators torch.ops.internet.*; `build_info` is JSON.",
    -1,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
};

PyMODINIT_FUNC CONCATENATE(PyInit_, INTERNET_MODULE)() {
  PyObject* module = PyModule_Create(&module_definition);
  if (module == nullptr) return nullptr;
  if (PyModule_AddStringConstant(module, "build_info", INTERNET_BUILD_INFO) < 0) {
    Py_DECREF(module);
    return nullptr;
  }
  return module;
}
