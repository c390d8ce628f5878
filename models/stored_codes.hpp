// Matrices that a Hugging Face folder holds as codes, as transformers saves a model that bitsandbytes
// quantised. Of X.weight, with 4 bits: X.weight (u8 [bytes, 1]), X.weight.absmax, .quant_map, .nested_absmax,
// .nested_quant_map, and .quant_state.bitsandbytes__nf4 (or fp4), a JSON text; with int8: X.weight (i8 [out,
// in]) and X.SCB. The matrix is [out, in] there also where the family stores it transposed (GPT-2).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "io/weight_folder.hpp"
#include "kernels/quantise.hpp"

namespace collie {

// "nf4 in blocks of 64, with double quantisation", "int8".
std::string in_words(const Quantisation& quantisation);

// How the folder holds the model's tensor of that name as codes; none: as numbers, or not at all. Throws
// UserError naming the tensor if what describes it is damaged, or what the engine does not have.
std::optional<Quantisation> stored_quantisation(const WeightFolder& folder, const std::string& tensor);

// The names there of all tensors that such a tensor is made of, itself included.
std::vector<std::string> stored_code_tensors(const WeightFolder& folder, const std::string& tensor);

// Checks the sizes and dtypes of all of them, and the maps of codes, for a matrix [rows, columns]. Throws
// UserError naming the tensor.
void check_stored_codes(const WeightFolder& folder, const std::string& tensor, int64_t rows, int64_t columns);
// Reads such a matrix, after the same checks.
WholeQuantised read_stored_codes(const WeightFolder& folder, const std::string& tensor, int64_t rows,
                                 int64_t columns);

}  // namespace collie
