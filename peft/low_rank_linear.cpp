#include "peft/low_rank_linear.hpp"

#include <utility>
#include <vector>

#include "models/access.hpp"
#include "peft/dropped_input.hpp"

namespace collie {
namespace {

// y = base(x) + scale B (A drop(x)) for each of its adapters. The stash's tensors are scale · A drop(x)
// [tokens, rank] of each adapter, and, once they are known, scale · dy B [tokens, rank] of each.
class LowRankLinear final : public Linear {
 public:
  LowRankLinear(std::unique_ptr<Linear> base, std::vector<LowRankIds> adapters)
      : base_(std::move(base)), adapters_(std::move(adapters)) {}

  void forward(LayerContext& context, const Tensor& x, Tensor& y, LinearStash* stash) override {
    base_->forward(context, x, y, part(stash));
    for (const LowRankIds& adapter : adapters_) {
      const Tensor narrow =
          narrowed(context, adapter, x, stash ? Category::activations : Category::workspace);
      const AcquiredWeight b(context, adapter.b);
      context.operations.gemm(GemmForm::nt, narrow, *b, y, true);
      if (stash) stash->tensors.push_back(narrow);
    }
  }

  void keep(LayerContext& context, const Tensor& x, LinearStash& stash) override {
    base_->keep(context, x, *part(&stash));
    for (const LowRankIds& adapter : adapters_)
      stash.tensors.push_back(narrowed(context, adapter, x, Category::activations));
  }

  void backward_input(LayerContext& context, const Tensor& dy, Tensor& dx, bool accumulate,
                      LinearStash& stash) override {
    base_->backward_input(context, dy, dx, accumulate, *part(&stash));
    skip_own_input(context, dy, stash);
    for (size_t i = 0; i < adapters_.size(); ++i) {
      const AcquiredWeight a(context, adapters_[i].a);
      add_to_input(context, adapters_[i], d_narrow(stash, i), *a, dx);
    }
  }

  void skip_input(LayerContext& context, const Tensor& dy, LinearStash& stash) override {
    base_->skip_input(context, dy, *part(&stash));
    skip_own_input(context, dy, stash);
  }

  void backward_weight(LayerContext& context, const Tensor& x, const Tensor& dy,
                       LinearStash& stash) override {
    for (size_t i = adapters_.size(); i-- > 0;) {
      const LowRankIds& adapter = adapters_[i];
      contribute(context, adapter.b, [&](Tensor& gradient, bool accumulate) {
        context.operations.gemm(GemmForm::tn, dy, stash.tensors.at(i), gradient, accumulate);
      });
      contribute(context, adapter.a, [&](Tensor& gradient, bool accumulate) {
        context.operations.gemm(GemmForm::tn, d_narrow(stash, i), dropped_input(context, adapter, x),
                                gradient, accumulate);
      });
    }
    base_->backward_weight(context, x, dy, *part(&stash));
  }

  // W + scale B A
  void copy_rows(LayerContext& context, int64_t first, Tensor& rows) override {
    base_->copy_rows(context, first, rows);
    for (const LowRankIds& adapter : adapters_) {
      const AcquiredWeight a(context, adapter.a), b(context, adapter.b);
      Tensor of_b = context.operations.empty({rows.dim(0), (*b).dim(1)}, Category::workspace);
      context.operations.copy((*b).rows(first, first + rows.dim(0)), of_b);
      context.operations.scale(of_b, adapter.scale);
      context.operations.gemm(GemmForm::nn, of_b, *a, rows, true);
    }
  }

 private:
  static LinearStash* part(LinearStash* stash) {
    if (stash == nullptr) return nullptr;
    stash->parts.resize(1);
    return &stash->parts.front();
  }
  const Tensor& d_narrow(const LinearStash& stash, size_t adapter) const {
    return stash.tensors.at(adapters_.size() + adapter);
  }

  // scale · A drop(x) [tokens, rank]
  static Tensor narrowed(LayerContext& context, const LowRankIds& adapter, const Tensor& x,
                         Category category) {
    const AcquiredWeight a(context, adapter.a);
    Tensor narrow = context.operations.empty({x.dim(0), (*a).dim(0)}, category);
    context.operations.gemm(GemmForm::nt, dropped_input(context, adapter, x), *a, narrow, false);
    context.operations.scale(narrow, adapter.scale);
    return narrow;
  }

  // Keeps scale · dy B [tokens, rank] of each adapter.
  void skip_own_input(LayerContext& context, const Tensor& dy, LinearStash& stash) const {
    for (const LowRankIds& adapter : adapters_) {
      const AcquiredWeight b(context, adapter.b);
      Tensor narrow = context.operations.empty({dy.dim(0), (*b).dim(1)}, Category::activations);
      context.operations.gemm(GemmForm::nn, dy, *b, narrow, false);
      context.operations.scale(narrow, adapter.scale);
      stash.tensors.push_back(std::move(narrow));
    }
  }

  std::unique_ptr<Linear> base_;
  std::vector<LowRankIds> adapters_;
};

}  // namespace

std::unique_ptr<Linear> make_low_rank_linear(std::unique_ptr<Linear> base, std::vector<LowRankIds> adapters) {
  return std::make_unique<LowRankLinear>(std::move(base), std::move(adapters));
}

}  // namespace collie
