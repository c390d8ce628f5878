// Reads a tensor of a model from a folder of weights, whose embedding and head may have other numbers of rows
// than the model's.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "io/stored_tensor.hpp"
#include "io/weight_folder.hpp"
#include "models/parameter.hpp"

namespace collie {

// The tensor of the model in the folder, whose names may lack their first part: a model that was saved
// without its head has "h.0.ln_1.weight" for "transformer.h.0.ln_1.weight".
std::string name_in_folder(const WeightFolder& folder, const std::string& tensor);
const WeightFolder::Place& place_of_tensor(const WeightFolder& folder, const std::string& tensor);

class WeightReader {
 public:
  // The folder must outlive the reader, and have the tensor in its stored shape. A tensor that PyTorch did
  // not store row by row is read whole.
  WeightReader(const WeightFolder& folder, const NamedTensor& tensor);

  // Elements [begin, begin + values.size()) of the flattened tensor of the model, as float32. Each row that
  // the folder lacks is the mean of those that it has (Hewitt, 2021): a new token then is as likely as the
  // others are on average, where random logits may be above all others. Not safe for several threads.
  void read(int64_t begin, std::span<float> values) const;

 private:
  const std::vector<float>& mean() const;

  TensorReader reader_;
  int64_t width_, stored_rows_;
  mutable std::vector<float> mean_;  // [width], once it was needed
};

}  // namespace collie
