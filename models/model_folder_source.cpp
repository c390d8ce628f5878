#include "models/model_folder_source.hpp"

#include <algorithm>
#include <memory>

#include "base/error.hpp"
#include "kernels/operations.hpp"
#include "models/pieces.hpp"
#include "models/stage_model.hpp"
#include "models/weights_io.hpp"

namespace collie {

ModelFolderSource::ModelFolderSource(std::string folder, const ModelSpec& model)
    : folder_(std::move(folder)) {
  for (const NamedTensor& tensor : tensors_of(model_parameters(model))) {
    const std::vector<int64_t> shape = tensor.shape.to_vector();
    slices_.push_back({tensor.name, "weight", shape, std::vector<int64_t>(shape.size(), 0), shape});
  }
}

void ModelFolderSource::read(size_t index, std::span<float> values) const {
  const Slice& slice = slices_.at(index);
  const Shape shape = Shape::from(slice.shape);
  COLLIE_ASSERT(values.size() == static_cast<size_t>(shape.numel()), "{}: {} values for {}", slice.name,
                values.size(), shape.to_string());
  const auto account = std::make_shared<MemoryAccount>();
  const auto operations = make_cpu_operations(1, account);
  std::vector<Tensor> weights{Tensor::host(shape, DType::f32, account, Category::workspace)};
  read_weights(folder_, {whole_tensor(slice.name, shape)}, *operations, weights);
  std::copy_n(weights.front().data<float>(), values.size(), values.begin());
}

}  // namespace collie
