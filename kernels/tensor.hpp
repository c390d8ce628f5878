// A tensor is a typed, shaped view of reference-counted storage. Copying a Tensor copies the handle, never
// the data.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "kernels/memory.hpp"

namespace collie {

enum class DType : uint8_t { f32, f64, bf16, i32, u8 };
size_t size_of(DType dtype);
std::string_view name(DType dtype);  // "float32", ...

template <class T>
constexpr DType dtype_of();
template <>
constexpr DType dtype_of<float>() {
  return DType::f32;
}
template <>
constexpr DType dtype_of<double>() {
  return DType::f64;
}
template <>
constexpr DType dtype_of<int32_t>() {
  return DType::i32;
}
template <>
constexpr DType dtype_of<uint8_t>() {
  return DType::u8;
}

// A shape has up to four dimensions, outermost first.
class Shape {
 public:
  static constexpr int max_rank = 4;
  Shape() = default;
  Shape(std::initializer_list<int64_t> dims);
  static Shape from(std::span<const int64_t> dims);
  int rank() const { return rank_; }
  int64_t operator[](int axis) const;  // negative axes count from the end
  int64_t numel() const;
  bool operator==(const Shape& other) const = default;
  std::string to_string() const;  // "[2, 3]"
  std::vector<int64_t> to_vector() const { return {dims_.begin(), dims_.begin() + rank_}; }

 private:
  std::array<int64_t, max_rank> dims_{};
  int rank_ = 0;
};

class Tensor {
 public:
  Tensor() = default;  // empty: defined() is false

  // Uninitialised memory on the host, charged to `account`, which must outlive the storage.
  static Tensor host(const Shape& shape, DType dtype, std::shared_ptr<MemoryAccount> account,
                     Category category);
  // Uninitialised memory from `source`, charged to `account`.
  static Tensor on(std::shared_ptr<MemorySource> source, const Shape& shape, DType dtype,
                   std::shared_ptr<MemoryAccount> account, Category category);
  // A tensor with shape, strides and account, but no memory behind it. It serves to count what a computation
  // would hold (kernels/meta). Its values must not be asked for.
  static Tensor meta(const Shape& shape, DType dtype, std::shared_ptr<MemoryAccount> account,
                     Category category);

  bool defined() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  int64_t dim(int axis) const { return shape_[axis]; }
  int64_t numel() const { return shape_.numel(); }
  DType dtype() const { return dtype_; }
  DeviceKind device() const;
  Category category() const;
  size_t bytes() const { return static_cast<size_t>(numel()) * size_of(dtype_); }

  // The number of elements from one index of axis 0 to the next. The inner dimensions are always dense.
  int64_t row_stride() const { return row_stride_; }
  bool contiguous() const;

  // Typed access. It asserts the dtype.
  template <class T>
  T* data() const {
    COLLIE_ASSERT(dtype_of<T>() == dtype_, "tensor {} holds {}", shape_.to_string(), name(dtype_));
    return static_cast<T*>(raw());
  }
  void* raw() const;  // first element
  bool has_memory() const;
  // These two copy a contiguous tensor's bytes() bytes to host memory, and from there, whatever device it is
  // on. They block.
  void read(void* to) const;
  void write(const void* from);
  // A note that the operation table that releases a tensor leaves on it for the table that acquires it. It is
  // null if there is none.
  const std::shared_ptr<const void>& note() const;
  void set_note(std::shared_ptr<const void> note);
  // Makes the memory go back to another source of the same device.
  void set_source(std::shared_ptr<MemorySource> source);
  // Says whether both begin with the same element of the same storage.
  bool begins_with(const Tensor& other) const {
    return storage_ == other.storage_ && offset_ == other.offset_;
  }

  // Views that share the storage.
  Tensor rows(int64_t begin, int64_t end) const;     // [end - begin, ...] of axis 0
  Tensor columns(int64_t begin, int64_t end) const;  // 2-D only: [rows, end - begin], same row_stride
  Tensor reshape(const Shape& shape) const;          // contiguous, or inner dimensions split/merged only
  // Charges the storage to another account (when its owner changes) or to another category.
  void charge_to(std::shared_ptr<MemoryAccount> account, Category category);

 private:
  struct Storage;
  static Tensor with_storage(const Shape& shape, DType dtype, std::shared_ptr<MemoryAccount> account,
                             Category category, std::shared_ptr<MemorySource> source);
  std::shared_ptr<Storage> storage_;
  int64_t offset_ = 0;  // elements
  int64_t row_stride_ = 0;
  Shape shape_;
  DType dtype_ = DType::f32;
};

}  // namespace collie
