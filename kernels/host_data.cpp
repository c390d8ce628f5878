#include "kernels/host_data.hpp"

#include <algorithm>
#include <cstring>

#include "kernels/bfloat16.hpp"
#include "kernels/checks.hpp"

namespace collie::host {

namespace {

// Calls f(pointer to the row's first element, index of that element in row-major order, width).
template <class T, class F>
void for_each_row(const Tensor& x, F f) {
  const Rows rows = rows_of(x);
  T* const data = static_cast<T*>(x.raw());
  for (int64_t r = 0; r < rows.count; ++r) f(data + r * x.row_stride(), r * rows.width, rows.width);
}

template <class T, class From>
void upload_as(std::span<const float> values, const Tensor& x, From convert) {
  for_each_row<T>(x, [&](T* row, int64_t first, int64_t width) {
    for (int64_t i = 0; i < width; ++i) row[i] = convert(values[static_cast<size_t>(first + i)]);
  });
}

template <class T, class To>
void download_as(const Tensor& x, std::span<float> values, To convert) {
  for_each_row<T>(x, [&](T* row, int64_t first, int64_t width) {
    for (int64_t i = 0; i < width; ++i) values[static_cast<size_t>(first + i)] = convert(row[i]);
  });
}

template <class T>
void fill_as(const Tensor& x, T value) {
  for_each_row<T>(x, [&](T* row, int64_t, int64_t width) { std::fill_n(row, width, value); });
}

uint8_t to_code(double value) {
  COLLIE_ASSERT(value >= 0 && value <= 255, "{} is no number of 8 bits", value);
  return static_cast<uint8_t>(value);
}

}  // namespace

Rows rows_of(const Tensor& x) {
  if (x.numel() == 0) return {0, 0};
  if (x.contiguous()) return {1, x.numel()};
  return {x.dim(0), x.numel() / x.dim(0)};
}

std::vector<float> transposed(std::span<const float> matrix, int64_t rows, int64_t columns) {
  std::vector<float> result(matrix.size());
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j)
      result[static_cast<size_t>(j * rows + i)] = matrix[static_cast<size_t>(i * columns + j)];
  return result;
}

uint16_t to_bf16(float value) {
  bfloat16 rounded;
  store(value, &rounded);
  return rounded.bits;
}

float from_bf16(uint16_t bits) {
  return to_float(bfloat16{bits});
}

void fill(const Tensor& x, double value) {
  switch (x.dtype()) {
    case DType::f32:
      return fill_as(x, static_cast<float>(value));
    case DType::f64:
      return fill_as(x, value);
    case DType::bf16:
      return fill_as(x, to_bf16(static_cast<float>(value)));
    case DType::i32:
      return fill_as(x, static_cast<int32_t>(value));
    case DType::u8:
      return fill_as(x, to_code(value));
  }
}

void copy(const Tensor& from, const Tensor& to) {
  if (from.numel() == 0) return;
  const size_t size = size_of(from.dtype());
  if (from.contiguous() && to.contiguous()) {
    std::memcpy(to.raw(), from.raw(), from.bytes());
    return;
  }
  const size_t row_bytes = from.bytes() / static_cast<size_t>(from.dim(0));
  for (int64_t r = 0; r < from.dim(0); ++r)
    std::memcpy(static_cast<char*>(to.raw()) + static_cast<size_t>(r * to.row_stride()) * size,
                static_cast<const char*>(from.raw()) + static_cast<size_t>(r * from.row_stride()) * size,
                row_bytes);
}

void upload(std::span<const float> values, const Tensor& x) {
  check::transfer(values.size(), x);
  switch (x.dtype()) {
    case DType::f32:
      return upload_as<float>(values, x, [](float v) { return v; });
    case DType::f64:
      return upload_as<double>(values, x, [](float v) { return static_cast<double>(v); });
    case DType::bf16:
      return upload_as<uint16_t>(values, x, to_bf16);
    case DType::i32:
      return upload_as<int32_t>(values, x, [](float v) { return static_cast<int32_t>(v); });
    case DType::u8:
      return upload_as<uint8_t>(values, x, to_code);
  }
}

void download(const Tensor& x, std::span<float> values) {
  check::transfer(values.size(), x);
  switch (x.dtype()) {
    case DType::f32:
      return download_as<float>(x, values, [](float v) { return v; });
    case DType::f64:
      return download_as<double>(x, values, [](double v) { return static_cast<float>(v); });
    case DType::bf16:
      return download_as<uint16_t>(x, values, from_bf16);
    case DType::i32:
      return download_as<int32_t>(x, values, [](int32_t v) { return static_cast<float>(v); });
    case DType::u8:
      return download_as<uint8_t>(x, values, [](uint8_t v) { return static_cast<float>(v); });
  }
}

}  // namespace collie::host
