// Muon: hidden matrices are moved by orthogonal matrices (kernels/rules/muon.cpp), everything else by AdamW.
#pragma once

#include "optim/optimizer.hpp"

namespace collie {

OptimizerFactory orthogonal_optimizer(const OrthogonalRule& rule);

// Moves a matrix [m, n] of accumulation_dtype() towards the nearest orthogonal one by Newton-Schulz
// iterations with the coefficients of Jordan et al.: its singular values come near 1. In place.
void orthogonalise(Operations& operations, Tensor& matrix, int iterations);

}  // namespace collie
