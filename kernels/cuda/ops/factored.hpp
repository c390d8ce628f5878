// Maxima and sums over rows and columns of tiles of matrices, and the update of rules with factored second
// moments (kernels/matrix_tiles.hpp).
#pragma once

#include <span>

#include "kernels/cuda/views.hpp"
#include "kernels/rounding.hpp"

struct CUstream_st;

namespace collie::cuda {

// [rows, columns], dense. Members are those of collie::MatrixTile.
struct LineTile {
  const void* values;
  Element element;
  bool clipped;
  int64_t rows, columns, row_line, column_line, row_elements, column_elements, row_scale, column_scale;
};

// factor: f64 on the device, or null for 1. maxima float32, sums float64, scales and bounds float32 [lines].
void line_maxima(CUstream_st* stream, std::span<const LineTile> tiles, const double* factor, float* maxima);
void line_sums_of_squares(CUstream_st* stream, std::span<const LineTile> tiles, const double* factor,
                          const float* scales, const float* bounds, double* sums);

// collie::FactoredMatrix; row_moments is null for a vector.
struct MomentMatrix {
  int64_t rows, columns, first_line, first_row;
  float *row_moments, *column_moments;
};
struct MomentStep {
  double beta, eps, clip_threshold, rate, least_scale, weight_decay;
};
void factored_moments(CUstream_st* stream, std::span<const MomentMatrix> matrices, const MomentStep& step,
                      const double* factor, const float* maxima, const double* sums, float* scales,
                      float* bounds);
// rates [matrices, 2]
void factored_rates(CUstream_st* stream, std::span<const MomentMatrix> matrices, const MomentStep& step,
                    const double* directions, const double* weights, float* rates);

// [rows, columns], dense. momentum and rounded may be null; rounded is bfloat16, or of weight's type.
struct UpdateTile {
  void* weight;
  const void* gradient;
  void *momentum, *rounded;
  Element weight_element, gradient_element, momentum_element, rounded_element;
  int64_t rows, columns, row_scale, column_scale, matrix;
  uint64_t first_index;
};
void factored_update(CUstream_st* stream, std::span<const UpdateTile> tiles, float momentum,
                     const double* factor, const float* scales, const float* rates, const Rounding& rounding);

}  // namespace collie::cuda
