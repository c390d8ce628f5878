#include "kernels/cuda/memory/index_cache.hpp"

namespace collie::cuda {

IndexCache::IndexCache(std::shared_ptr<Stream> stream, std::shared_ptr<MemorySource> memory,
                       std::shared_ptr<MemoryAccount> account)
    : memory_(std::move(memory)),
      account_(std::move(account)),
      staging_(std::move(stream)),
      arrays_([this](std::span<const int32_t> values) { return upload(values); }, most_index_arrays) {}

const int32_t* IndexCache::on_device(std::span<const int32_t> values) {
  return arrays_.find(values).data<int32_t>();
}

Tensor IndexCache::upload(std::span<const int32_t> values) {
  Tensor copy =
      Tensor::on(memory_, {static_cast<int64_t>(values.size())}, DType::i32, account_, Category::workspace);
  staging_.upload(std::as_bytes(values), copy.raw());
  return copy;
}

}  // namespace collie::cuda
