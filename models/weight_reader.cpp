#include "models/weight_reader.hpp"

#include <algorithm>

namespace collie {

std::string name_in_folder(const WeightFolder& folder, const std::string& tensor) {
  if (folder.contains(tensor)) return tensor;
  const std::string rest = tensor.substr(tensor.find('.') + 1);
  return folder.contains(rest) ? rest : tensor;
}

const WeightFolder::Place& place_of_tensor(const WeightFolder& folder, const std::string& tensor) {
  return folder.find(name_in_folder(folder, tensor));
}

static TensorReader reader_in(const WeightFolder& folder, const std::string& tensor) {
  const WeightFolder::Place& place = place_of_tensor(folder, tensor);
  return {*place.file, *place.tensor};
}

WeightReader::WeightReader(const WeightFolder& folder, const NamedTensor& tensor)
    : reader_(reader_in(folder, tensor.name)),
      width_(tensor.shape.numel() / std::max<int64_t>(tensor.shape[0], 1)),
      stored_rows_(tensor.stored_shape()[0]) {}

void WeightReader::read(int64_t begin, std::span<float> values) const {
  const int64_t stored = stored_rows_ * width_, end = begin + static_cast<int64_t>(values.size());
  const int64_t from_folder = std::clamp<int64_t>(stored - begin, 0, end - begin);
  if (from_folder > 0) reader_.read(begin, values.first(static_cast<size_t>(from_folder)));
  for (int64_t i = begin + from_folder; i < end; ++i)
    values[static_cast<size_t>(i - begin)] = mean()[static_cast<size_t>(i % width_)];
}

// Every rank with a new row reads all of them, in the same order, so that its bits depend on no layout.
const std::vector<float>& WeightReader::mean() const {
  if (!mean_.empty()) return mean_;
  constexpr int64_t most = 1 << 20;  // elements
  const int64_t rows_at_a_time = std::max<int64_t>(most / width_, 1);
  std::vector<double> sums(static_cast<size_t>(width_));
  std::vector<float> values;
  for (int64_t row = 0; row < stored_rows_; row += rows_at_a_time) {
    values.resize(static_cast<size_t>(std::min(rows_at_a_time, stored_rows_ - row) * width_));
    reader_.read(row * width_, values);
    for (size_t i = 0; i < values.size(); ++i) sums[i % sums.size()] += static_cast<double>(values[i]);
  }
  for (const double sum : sums) mean_.push_back(static_cast<float>(sum / static_cast<double>(stored_rows_)));
  return mean_;
}

}  // namespace collie
