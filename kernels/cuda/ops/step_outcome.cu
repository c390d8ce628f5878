// One thread reads 16 bytes and writes 24.
#include "kernels/cuda/ops/step_outcome.hpp"

#include "kernels/clip_factor.hpp"
#include "kernels/cuda/launch.hpp"

namespace collie::cuda {

namespace {

// Roots and quotients of doubles are rounded as on the host.
__global__ void step_outcome_kernel(const double* loss_sum, const double* sum_of_squares, StepBounds bounds,
                                    double* outcome) {
  const double loss = *loss_sum, norm = sqrt(*sum_of_squares);
  outcome[0] = loss;
  outcome[1] = norm;
  outcome[2] = step_factor(loss, norm, bounds);
}

__global__ void keep_if_finite_kernel(const double* factor, const double* value, double* kept) {
  *kept = factor_if_finite(*factor, *value);
}

}  // namespace

void keep_if_finite(cudaStream_t stream, const double* factor, const double* value, double* kept) {
  launch(stream, {{1}, {1}}, "keep_if_finite", keep_if_finite_kernel, factor, value, kept);
}

void step_outcome(cudaStream_t stream, const double* loss_sum, const double* sum_of_squares,
                  const StepBounds& bounds, double* outcome) {
  launch(stream, {{1}, {1}}, "step_outcome", step_outcome_kernel, loss_sum, sum_of_squares, bounds, outcome);
}

}  // namespace collie::cuda
