#include <Python.h>
int version(void);
static PyObject* call(PyObject* self, PyObject* none) { return PyLong_FromLong(version()); }
static PyMethodDef methods[] = {{"version", call, METH_NOARGS, ""}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "twice", "", -1, methods};
PyMODINIT_FUNC PyInit_twice(void) { return PyModule_Create(&module); }
