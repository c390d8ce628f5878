// Weights that torch.save wrote: a zip archive of a pickle, which names the tensors, and of their storages.
// Format: torch/serialization.py (PyTorch 1.6 and later).
#pragma once

#include <vector>

#include "io/positional_file.hpp"
#include "io/stored_tensor.hpp"

namespace collie {

// The tensors of pytorch_model.bin, in the pickle's order, each verified to lie within its storage, and that
// within the file. Nothing of the file is run (io/pickled_tensors.hpp). Throws UserError naming file and
// tensor, what was found and what would be right; the formats before PyTorch 1.6 are refused by name.
std::vector<StoredTensor> read_torch_tensors(const PositionalFile& file);

}  // namespace collie
