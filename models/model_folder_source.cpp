#include "models/model_folder_source.hpp"

#include "base/error.hpp"
#include "models/pieces.hpp"
#include "models/stage_model.hpp"

namespace collie {

ModelFolderSource::ModelFolderSource(const std::string& folder, const ModelSpec& model)
    : path_(folder), folder_(folder), tensors_(tensors_of(model_parameters(model))) {
  for (const NamedTensor& tensor : tensors_) slices_.push_back(whole_weight_slice(tensor.name, tensor.shape));
}

// The parts of a tensor are asked for one after another, so the last reader is kept: it holds a tensor that
// PyTorch did not store row by row.
void ModelFolderSource::read(size_t index, int64_t begin, std::span<float> values) const {
  const Slice& slice = slices_.at(index);
  const int64_t elements = Shape::from(slice.shape).numel();
  COLLIE_ASSERT(begin >= 0 && begin + static_cast<int64_t>(values.size()) <= elements,
                "{}: values [{}, {}) of {}", slice.name, begin, begin + static_cast<int64_t>(values.size()),
                elements);
  const std::lock_guard lock(mutex_);
  if (!reader_ || last_index_ != index) {
    reader_.reset();
    reader_.emplace(folder_, tensors_[index]);
    last_index_ = index;
  }
  reader_->read(begin, values);
}

}  // namespace collie
