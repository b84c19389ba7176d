#pragma once

#include <cstddef>
#include <type_traits>

namespace vectorops {

namespace detail {

// T* to const T*, and nothing else.
template <typename From, typename To>
using enable_if_qualification = std::enable_if_t<std::is_convertible_v<From (*)[], To (*)[]>>;

}  // namespace detail

// Contiguous elements that belong to someone else, in host or in device memory.
template <typename T>
class Span {
 public:
  constexpr Span() noexcept = default;
  constexpr Span(T* data, std::size_t size) noexcept : data_(data), size_(size) {}

  template <typename U, typename = detail::enable_if_qualification<U, T>>
  constexpr Span(const Span<U>& other) noexcept : data_(other.data()), size_(other.size()) {}

  constexpr T* data() const noexcept { return data_; }
  constexpr std::size_t size() const noexcept { return size_; }
  constexpr bool empty() const noexcept { return size_ == 0; }

  // The elements themselves, where this code may read them.
  constexpr T& operator[](std::size_t index) const { return data_[index]; }
  constexpr T* begin() const noexcept { return data_; }
  constexpr T* end() const noexcept { return data_ + size_; }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

// A row-major matrix; `stride` elements lie between the beginnings of two rows.
template <typename T>
class MatrixSpan {
 public:
  constexpr MatrixSpan() noexcept = default;
  constexpr MatrixSpan(T* data, std::size_t rows, std::size_t cols) noexcept
      : MatrixSpan(data, rows, cols, cols) {}
  // NOLINTNEXTLINE(bugprone-easily-swappable-parameters)
  constexpr MatrixSpan(T* data, std::size_t rows, std::size_t cols, std::size_t stride) noexcept
      : data_(data), rows_(rows), cols_(cols), stride_(stride) {}

  template <typename U, typename = detail::enable_if_qualification<U, T>>
  constexpr MatrixSpan(const MatrixSpan<U>& other) noexcept
      : MatrixSpan(other.data(), other.rows(), other.cols(), other.stride()) {}

  constexpr T* data() const noexcept { return data_; }
  constexpr std::size_t rows() const noexcept { return rows_; }
  constexpr std::size_t cols() const noexcept { return cols_; }
  constexpr std::size_t stride() const noexcept { return stride_; }
  constexpr bool empty() const noexcept { return rows_ == 0 || cols_ == 0; }

  constexpr T& operator()(std::size_t row, std::size_t col) const {
    return data_[row * stride_ + col];
  }

 private:
  T* data_ = nullptr;
  std::size_t rows_ = 0;
  std::size_t cols_ = 0;
  std::size_t stride_ = 0;
};

}  // namespace vectorops
