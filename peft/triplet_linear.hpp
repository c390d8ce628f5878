// A matrix with triplets: base(x) + scale B (E ⊙ A drop(x)) (models/adapters.hpp; AdaLoRA: Zhang et al.,
// arXiv 2303.10512, equation 3).
#pragma once

#include <memory>

#include "models/linear.hpp"

namespace collie {

// It costs what a low-rank adapter of that rank does (peft/low_rank_linear.hpp), and keeps two tensors
// [tokens, rank] where that keeps one. Where context.regularises, gradients of A and B have that of
// orthogonality |A Aᵀ - I| + |Bᵀ B - I| added to them.
std::unique_ptr<Linear> make_triplet_linear(std::unique_ptr<Linear> base, const LowRankIds& adapter);

}  // namespace collie
