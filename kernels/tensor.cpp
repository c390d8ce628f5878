#include "kernels/tensor.hpp"

#include <cstring>
#include <new>

#include "base/error.hpp"
#include "base/limits.hpp"

namespace collie {

namespace {

// "12.5 MiB (weights 4.0 MiB, gradients 8.5 MiB)"
std::string describe(const MemoryAccount& account) {
  std::string parts;
  for (size_t i = 0; i < category_count; ++i) {
    const auto category = static_cast<Category>(i);
    const size_t bytes = account.current(category);
    if (bytes > 0) parts += fmt::format("{}{} {}", parts.empty() ? "" : ", ", name(category), in_mib(bytes));
  }
  return in_mib(account.current_total()) + (parts.empty() ? "" : " (" + parts + ")");
}

void* take(MemorySource& source, size_t bytes, const MemoryAccount& account) {
  try {
    return source.allocate(bytes);
  } catch (const std::bad_alloc&) {
    const std::string limits = memory_limits();
    throw RunError("out of memory: a tensor of {} finds no room beside the {} that the rank has{}",
                   in_mib(bytes), describe(account), limits.empty() ? "" : ": " + limits);
  }
}

}  // namespace

// One block of memory and the account that pays for it. A meta tensor has no source and no block, but is paid
// for in the same way.
struct Tensor::Storage {
  Storage(size_t size, std::shared_ptr<MemoryAccount> payer, Category kind,
          std::shared_ptr<MemorySource> memory)
      : source(std::move(memory)),
        data(source ? take(*source, size, *payer) : nullptr),
        bytes(size),
        account(std::move(payer)),
        category(kind) {
    account->add(category, bytes);
  }
  ~Storage() {
    account->remove(category, bytes);
    if (source) source->free(data, bytes);
  }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  std::shared_ptr<MemorySource> source;
  void* data;
  size_t bytes;
  std::shared_ptr<MemoryAccount> account;
  Category category;
  std::shared_ptr<const void> note;
};

namespace {

class HostMemory final : public MemorySource {
 public:
  void* allocate(size_t bytes) override { return allocate_host(bytes); }
  void free(void* block, size_t bytes) noexcept override { free_host(block, bytes); }
  DeviceKind device() const override { return DeviceKind::cpu; }
  void read(const void* from, void* to, size_t bytes) override { std::memcpy(to, from, bytes); }
  void write(const void* from, void* to, size_t bytes) override { std::memcpy(to, from, bytes); }
};

// Never destroyed, because tensors in static objects may outlive it otherwise.
const std::shared_ptr<MemorySource>& host_memory() {
  static const auto* const source = new std::shared_ptr<MemorySource>(std::make_shared<HostMemory>());
  return *source;
}

// The number of elements in one index of axis 0.
int64_t inner_numel(const Shape& shape) {
  int64_t product = 1;
  for (int axis = 1; axis < shape.rank(); ++axis) product *= shape[axis];
  return product;
}

int64_t outer_dim(const Shape& shape) {
  return shape.rank() == 0 ? 1 : shape[0];
}

}  // namespace

Tensor Tensor::with_storage(const Shape& shape, DType dtype, std::shared_ptr<MemoryAccount> account,
                            Category category, std::shared_ptr<MemorySource> source) {
  COLLIE_ASSERT(account != nullptr, "tensor {} has no memory account", shape.to_string());
  Tensor tensor;
  tensor.shape_ = shape;
  tensor.dtype_ = dtype;
  tensor.row_stride_ = inner_numel(shape);
  tensor.storage_ =
      std::make_shared<Storage>(tensor.bytes(), std::move(account), category, std::move(source));
  return tensor;
}

Tensor Tensor::host(const Shape& shape, DType dtype, std::shared_ptr<MemoryAccount> account,
                    Category category) {
  return with_storage(shape, dtype, std::move(account), category, host_memory());
}

Tensor Tensor::on(std::shared_ptr<MemorySource> source, const Shape& shape, DType dtype,
                  std::shared_ptr<MemoryAccount> account, Category category) {
  COLLIE_ASSERT(source != nullptr, "tensor {} has no source of memory", shape.to_string());
  return with_storage(shape, dtype, std::move(account), category, std::move(source));
}

Tensor Tensor::meta(const Shape& shape, DType dtype, std::shared_ptr<MemoryAccount> account,
                    Category category) {
  return with_storage(shape, dtype, std::move(account), category, nullptr);
}

bool Tensor::has_memory() const {
  COLLIE_ASSERT(defined(), "an empty tensor has no data");
  return storage_->data != nullptr;
}

DeviceKind Tensor::device() const {
  COLLIE_ASSERT(defined(), "an empty tensor is on no device");
  return storage_->source ? storage_->source->device() : DeviceKind::cpu;
}

Category Tensor::category() const {
  COLLIE_ASSERT(defined(), "an empty tensor has no category");
  return storage_->category;
}

bool Tensor::contiguous() const {
  return outer_dim(shape_) <= 1 || numel() == 0 || row_stride_ == inner_numel(shape_);
}

void* Tensor::raw() const {
  COLLIE_ASSERT(has_memory(), "a meta tensor of shape {} has no values", shape_.to_string());
  return static_cast<char*>(storage_->data) + static_cast<size_t>(offset_) * size_of(dtype_);
}

void Tensor::read(void* to) const {
  COLLIE_ASSERT(contiguous(), "a tensor {} with gaps between its rows cannot be read", shape_.to_string());
  if (bytes() > 0) storage_->source->read(raw(), to, bytes());
}

void Tensor::write(const void* from) {
  COLLIE_ASSERT(contiguous(), "a tensor {} with gaps between its rows cannot be written", shape_.to_string());
  if (bytes() > 0) storage_->source->write(from, raw(), bytes());
}

const std::shared_ptr<const void>& Tensor::note() const {
  COLLIE_ASSERT(defined(), "an empty tensor has no note");
  return storage_->note;
}

void Tensor::set_note(std::shared_ptr<const void> note) {
  COLLIE_ASSERT(defined(), "an empty tensor takes no note");
  storage_->note = std::move(note);
}

void Tensor::set_source(std::shared_ptr<MemorySource> source) {
  COLLIE_ASSERT(defined() && storage_->source && source && storage_->source->device() == source->device(),
                "the memory of a tensor of shape {} cannot go to another device", shape_.to_string());
  storage_->source = std::move(source);
}

Tensor Tensor::rows(int64_t begin, int64_t end) const {
  COLLIE_ASSERT(shape_.rank() >= 1, "rows of a tensor of shape {}", shape_.to_string());
  COLLIE_ASSERT(0 <= begin && begin <= end && end <= dim(0), "rows {} to {} of a tensor of shape {}", begin,
                end, shape_.to_string());
  std::array<int64_t, Shape::max_rank> dims{end - begin};
  for (int axis = 1; axis < shape_.rank(); ++axis) dims[static_cast<size_t>(axis)] = dim(axis);
  Tensor view = *this;
  view.shape_ = Shape::from({dims.data(), static_cast<size_t>(shape_.rank())});
  view.offset_ += begin * row_stride_;
  return view;
}

Tensor Tensor::columns(int64_t begin, int64_t end) const {
  COLLIE_ASSERT(shape_.rank() == 2, "columns of a tensor of shape {}, which is not a matrix",
                shape_.to_string());
  COLLIE_ASSERT(0 <= begin && begin <= end && end <= dim(1), "columns {} to {} of a tensor of shape {}",
                begin, end, shape_.to_string());
  Tensor view = *this;
  view.shape_ = Shape{dim(0), end - begin};
  view.offset_ += begin;
  return view;
}

Tensor Tensor::reshape(const Shape& shape) const {
  COLLIE_ASSERT(shape.numel() == numel(), "a tensor of shape {} cannot become {}", shape_.to_string(),
                shape.to_string());
  Tensor view = *this;
  view.shape_ = shape;
  if (contiguous()) {
    view.row_stride_ = inner_numel(shape);
  } else {
    COLLIE_ASSERT(shape.rank() >= 1 && shape[0] == dim(0),
                  "a tensor of shape {} with rows {} elements apart cannot become {}: its rows must stay",
                  shape_.to_string(), row_stride_, shape.to_string());
  }
  return view;
}

void Tensor::charge_to(std::shared_ptr<MemoryAccount> account, Category category) {
  COLLIE_ASSERT(defined(), "an empty tensor cannot be charged to anyone");
  COLLIE_ASSERT(account != nullptr, "tensor {} has no memory account", shape_.to_string());
  account->add(category, storage_->bytes);
  storage_->account->remove(storage_->category, storage_->bytes);
  storage_->account = std::move(account);
  storage_->category = category;
}

}  // namespace collie
