#include "models/model_folder_source.hpp"

#include <algorithm>
#include <memory>

#include "base/error.hpp"
#include "kernels/operations.hpp"
#include "models/pieces.hpp"
#include "models/stage_model.hpp"
#include "models/weights_io.hpp"

namespace collie {

ModelFolderSource::ModelFolderSource(const std::string& folder, const ModelSpec& model)
    : path_(folder), folder_(folder) {
  for (const NamedTensor& tensor : tensors_of(model_parameters(model))) {
    const std::vector<int64_t> shape = tensor.shape.to_vector();
    slices_.push_back({tensor.name, "weight", shape, std::vector<int64_t>(shape.size(), 0), shape});
  }
}

// The parts of a tensor are asked for one after another, so the last tensor is kept.
void ModelFolderSource::read(size_t index, int64_t begin, std::span<float> values) const {
  const Slice& slice = slices_.at(index);
  const Shape shape = Shape::from(slice.shape);
  const auto count = static_cast<int64_t>(values.size());
  COLLIE_ASSERT(begin >= 0 && begin + count <= shape.numel(), "{}: values [{}, {}) of {}", slice.name, begin,
                begin + count, shape.to_string());
  const std::lock_guard lock(mutex_);
  if (last_.empty() || last_index_ != index) {
    last_.clear();
    const auto account = std::make_shared<MemoryAccount>();
    const auto operations = make_cpu_operations(1, account);
    std::vector<Tensor> weights{Tensor::host(shape, DType::f32, account, Category::workspace)};
    read_weights(folder_, {whole_tensor(slice.name, shape)}, *operations, weights);
    last_ = std::move(weights);
    last_index_ = index;
  }
  std::copy_n(last_.front().data<float>() + begin, count, values.begin());
}

}  // namespace collie
