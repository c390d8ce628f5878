// The term of the loss that keeps the vectors of triplets orthogonal (AdaLoRA: Zhang et al., arXiv
// 2303.10512, equation 4, but with the norm itself in place of its square, as Hugging Face's peft has it).
#pragma once

#include "models/linear.hpp"

namespace collie {

// A matrix of triplets, of which a rank has all or, where the tensor group shares it, a part.
struct TripletMatrix {
  ParameterId id = no_parameter;
  bool by_rows = true;  // A [rank, in], whose rows are to be orthonormal; else B [out, rank], its columns
  bool is_cut = false;  // the ranks of the tensor group have parts of its vectors
  int64_t primary_rows = 0;  // the first ones, for which this rank stands, where others have the same
};

// The gradient of weight · |G - I| (Frobenius), with G = A Aᵀ or Bᵀ B [rank, rank] of the whole matrix, by
// the rows for which this rank stands: 2 weight (G - I) A / |G - I|, and 0 where G is I. It has as many rows,
// in accumulation_dtype(), in which all of it is computed. Undefined where there are none. A collective of
// the tensor group where the matrix is cut.
Tensor orthogonality_gradient(LayerContext& context, const TripletMatrix& matrix, double weight);

}  // namespace collie
