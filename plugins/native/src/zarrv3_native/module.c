/* The functions as a Python module; __init__.py says what they do. */

#include "kernels.h"

bool add_number(PyObject *list, Py_ssize_t number) {
    PyObject *object = PyLong_FromSsize_t(number);
    bool added = object != NULL && PyList_Append(list, object) == 0;
    Py_XDECREF(object);
    return added;
}

static PyMethodDef functions[] = {
    {"blosc", kernel_blosc, METH_VARARGS, NULL},
    {"zstd", kernel_zstd, METH_VARARGS, NULL},
    {"deflate", kernel_deflate, METH_VARARGS, NULL},
    {"chain", kernel_chain, METH_VARARGS, NULL},
    {"bound", kernel_bound, METH_VARARGS, NULL},
    {"decode", kernel_decode, METH_VARARGS, NULL},
    {"encode", kernel_encode, METH_VARARGS, NULL},
    {"decode_texts", kernel_decode_texts, METH_VARARGS, NULL},
    {"encode_texts", kernel_encode_texts, METH_VARARGS, NULL},
    {"get_files", kernel_get_files, METH_VARARGS, NULL},
    {"replace_files", kernel_replace_files, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static int add_constants(PyObject *module) {
    if (PyModule_AddIntConstant(module, "HAS_TEXTS", has_texts()) < 0) return -1;
    return PyModule_AddIntMacro(module, MAX_NDIM);
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, add_constants}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_kernels", .m_methods = functions, .m_slots = slots,
};

PyMODINIT_FUNC PyInit__kernels(void) {
    return PyModuleDef_Init(&definition);
}
