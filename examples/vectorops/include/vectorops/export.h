#pragma once

// Everything else in the shared library is hidden.
#define VECTOROPS_API __attribute__((visibility("default")))
