#pragma once

#include <stdexcept>
#include <string>

#include <vectorops/export.h>

namespace vectorops {

// Whatever this library throws on purpose is an Error.
class VECTOROPS_API Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
  ~Error() override;
};

// The call breaks the contract of the operation. No device has been touched.
class VECTOROPS_API InvalidArgument final : public Error {
 public:
  using Error::Error;
  ~InvalidArgument() override;
};

// The CUDA runtime refused; code() is its cudaError_t.
class VECTOROPS_API CudaError final : public Error {
 public:
  CudaError(int code, const std::string& message);
  ~CudaError() override;

  int code() const noexcept { return code_; }

 private:
  int code_;
};

}  // namespace vectorops
