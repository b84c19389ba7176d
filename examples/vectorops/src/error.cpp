#include <vectorops/error.h>

namespace vectorops {

// Out of line, so that the library holds the one copy of each type that a catch compares with.
Error::~Error() = default;
InvalidArgument::~InvalidArgument() = default;
CudaError::~CudaError() = default;

CudaError::CudaError(int code, const std::string& message) : Error(message), code_(code) {}

}  // namespace vectorops
