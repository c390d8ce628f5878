#include "kernels/offload.hpp"

#include <utility>

#include "base/log.hpp"
#include "kernels/operations.hpp"

namespace collie {

namespace {

class KeptHere final : public Offloaded {
 public:
  explicit KeptHere(std::vector<Tensor> tensors) : tensors_(std::move(tensors)) {}
  void fetch() override {}
  std::vector<Tensor> take() override { return std::move(tensors_); }

 private:
  std::vector<Tensor> tensors_;
};

// Everything that is needed to make a tensor again.
struct Form {
  bool defined;
  Shape shape;
  DType dtype;
  Category category;
};

Form form_of(const Tensor& x) {
  if (!x.defined()) return {};
  COLLIE_ASSERT(x.contiguous(), "a strided tensor of shape {} cannot be offloaded", x.shape().to_string());
  return {true, x.shape(), x.dtype(), x.category()};
}

}  // namespace

std::unique_ptr<Offloaded> offload_nowhere(std::vector<Tensor> tensors) {
  return std::make_unique<KeptHere>(std::move(tensors));
}

class Offloader::Group final : public Offloaded {
 public:
  Group(Offloader& owner, std::vector<Tensor> tensors) : owner_(owner), tensors_(std::move(tensors)) {
    for (const Tensor& tensor : tensors_) forms_.push_back(form_of(tensor));
    copy_ = owner_.copies_->begin_out(tensors_);
  }

  // Memory that a copy still reads or writes must not go back before the copy is done.
  ~Group() override {
    try {
      wait();
    } catch (const std::exception& error) {  // the device is lost: the run ends for that reason elsewhere
      log::warn("while activations on the host are dropped: {}", error.what());
    }
  }

  void leave() {
    wait();
    tensors_.clear();
    away_ = true;
  }

  void fetch() override {
    COLLIE_ASSERT(copy_ != nullptr, "tensors that were taken already are fetched");
    if (!away_) return wait();  // nothing has left yet
    for (const Form& form : forms_)
      tensors_.push_back(form.defined ? owner_.operations_.empty(form.shape, form.dtype, form.category)
                                      : Tensor());
    away_ = false;
    under_way_ = true;
    owner_.copies_->begin_back(*copy_, tensors_);
  }

  std::vector<Tensor> take() override {
    if (away_) fetch();
    wait();
    copy_.reset();
    return std::move(tensors_);
  }

 private:
  void wait() {
    if (owner_.leaving_ == this) owner_.leaving_ = nullptr;
    if (std::exchange(under_way_, false)) owner_.copies_->wait(*copy_);
  }

  Offloader& owner_;
  std::vector<Tensor> tensors_;
  std::vector<Form> forms_;
  std::shared_ptr<HostCopies::Copy> copy_;
  bool under_way_ = true;  // a copy out or back that nobody has waited for
  bool away_ = false;      // the device's memory is freed
};

Offloader::Offloader(Operations& operations, std::unique_ptr<HostCopies> copies)
    : operations_(operations), copies_(std::move(copies)) {}

Offloader::~Offloader() = default;

std::unique_ptr<Offloaded> Offloader::offload(std::vector<Tensor> tensors) {
  if (leaving_ != nullptr) leaving_->leave();
  auto group = std::make_unique<Group>(*this, std::move(tensors));
  leaving_ = group.get();
  return group;
}

}  // namespace collie
