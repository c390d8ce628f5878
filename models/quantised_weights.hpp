// The codes of a model's quantised matrices from a Hugging Face folder.
#pragma once

#include <string>

#include "io/weight_folder.hpp"
#include "kernels/held_matrix.hpp"
#include "models/model_spec.hpp"
#include "models/parameter.hpp"

namespace collie {

// Which rows and columns of its whole matrix [out, in] a rank holds of a quantised parameter.
HeldPart held_part(const Parameter& parameter);

// The bytes that a quantised parameter's codes and scales take.
int64_t held_bytes(const Parameter& parameter);

// A whole matrix of a folder, as codes. `tensor`, `shape` and `transposed` are the model's. Numbers are first
// rounded to `dtype`, as transformers does when it loads a model in it, and for int8 to float16, as
// bitsandbytes does. At most one tensor is in memory beside the codes. Throws UserError naming the tensor if
// a number is not finite.
WholeQuantised read_quantised(const WeightFolder& folder, const std::string& tensor, const Shape& shape,
                              bool transposed, const Quantisation& quantisation, DType dtype,
                              const OnPieces& on_pieces);

// The same of what a rank holds of a parameter.
void read_quantised(const WeightFolder& folder, const Parameter& parameter, Operations& operations,
                    QuantisedMatrix& matrix);

// Throws UserError naming the tensor if the folder holds it as codes, and `model` has it otherwise.
void check_stored_quantisation(const std::string& folder, const ModelSpec& model);

}  // namespace collie
