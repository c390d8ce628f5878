// Indexed access to double tensors of up to three dimensions.
#pragma once

#include "kernels/tensor.hpp"

namespace collie::reference {

class View {
 public:
  explicit View(const Tensor& x)
      : data_(x.data<double>()),
        row_stride_(x.row_stride()),
        rows_(x.shape().rank() == 0 ? 1 : x.dim(0)),
        width_(rows_ == 0 ? 0 : x.numel() / rows_),
        middle_stride_(x.shape().rank() == 3 ? x.dim(2) : 0) {}

  int64_t rows() const { return rows_; }
  int64_t width() const { return width_; }  // elements per row
  double& operator[](int64_t i) const { return data_[i * row_stride_]; }
  double& operator()(int64_t i, int64_t j) const { return data_[i * row_stride_ + j]; }
  double& operator()(int64_t i, int64_t j, int64_t k) const {
    return data_[i * row_stride_ + j * middle_stride_ + k];
  }

 private:
  double* data_;
  int64_t row_stride_, rows_, width_, middle_stride_;
};

}  // namespace collie::reference
