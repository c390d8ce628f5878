#include "models/dequantised_source.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "models/pieces.hpp"
#include "models/stage_model.hpp"

namespace collie {

DequantisedSource::DequantisedSource(const std::string& folder, const ModelSpec& model, DType dtype)
    : numbers_(folder, model.base()), folder_(folder), dtype_(dtype) {
  const std::vector<Parameter> parameters = model_parameters(model.without_adapters());
  for (const Slice& slice : slices()) {
    const auto of_slice = std::find_if(parameters.begin(), parameters.end(), [&](const Parameter& parameter) {
      return parameter.quantisation.is_there() && pieces_of(parameter).front().tensor == slice.name;
    });
    matrices_.emplace_back();
    if (of_slice != parameters.end())
      matrices_.back() = {of_slice->quantisation, pieces_of(*of_slice).front().transposed};
  }
}

void DequantisedSource::read_codes(size_t index) const {
  if (last_.elements() > 0 && last_index_ == index) return;
  last_ = {};
  const Matrix& matrix = matrices_.at(index);
  const auto on_this_thread = [](int64_t count, int64_t piece, const auto& f) {
    for (int64_t first = 0; first < count; first += piece) f(first, std::min(count, first + piece));
  };
  last_ = read_quantised(folder_, slices()[index].name, Shape::from(slices()[index].shape), matrix.transposed,
                         matrix.quantisation, dtype_, on_this_thread);
  last_index_ = index;
}

// Element i of a transposed tensor [in, out] is element (i % out) · in + i / out of the matrix [out, in].
void DequantisedSource::read(size_t index, int64_t begin, std::span<float> values) const {
  const Matrix& matrix = matrices_.at(index);
  if (!matrix.quantisation.is_there()) return numbers_.read(index, begin, values);
  const std::lock_guard lock(mutex_);
  read_codes(index);
  if (!matrix.transposed) return last_.decode(begin, values);
  for (size_t i = 0; i < values.size(); ++i) {
    const int64_t at = begin + static_cast<int64_t>(i), in = at / last_.rows, out = at % last_.rows;
    last_.decode(out * last_.columns + in, values.subspan(i, 1));
  }
}

std::shared_ptr<const CheckpointSource> weights_of_folder(const std::string& folder, const ModelSpec& model,
                                                          DType dtype) {
  if (model.quantisation.is_there()) return std::make_shared<const DequantisedSource>(folder, model, dtype);
  return std::make_shared<const ModelFolderSource>(folder, model.base());
}

}  // namespace collie
