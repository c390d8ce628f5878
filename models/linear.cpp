#include "models/linear.hpp"

#include <utility>

#include "models/access.hpp"
#include "models/quantised_linear.hpp"

namespace collie {
namespace {

// W [out, in]: y = x Wᵀ + b, dx = dy W, dW = dyᵀ x.
class DenseLinear final : public Linear {
 public:
  explicit DenseLinear(const MatrixIds& ids) : ids_(ids) {}

  void forward(LayerContext& context, const Tensor& x, Tensor& y, LinearStash*) override {
    const AcquiredWeight weight(context, ids_.weight);
    if (ids_.bias == no_parameter) return context.operations.gemm(GemmForm::nt, x, *weight, y, false);
    const AcquiredWeight bias(context, ids_.bias);
    context.operations.gemm_add_row(GemmForm::nt, x, *weight, *bias, y);
  }

  void backward_input(LayerContext& context, const Tensor& dy, Tensor& dx, bool accumulate,
                      LinearStash&) override {
    const AcquiredWeight weight(context, ids_.weight);
    context.operations.gemm(GemmForm::nn, dy, *weight, dx, accumulate);
  }

  void backward_weight(LayerContext& context, const Tensor& x, const Tensor& dy, LinearStash&) override {
    contribute(context, ids_.weight, [&](Tensor& gradient, bool accumulate) {
      context.operations.gemm(GemmForm::tn, dy, x, gradient, accumulate);
    });
    if (ids_.bias == no_parameter) return;
    contribute(context, ids_.bias, [&](Tensor& gradient, bool accumulate) {
      context.operations.column_sum(dy, gradient, accumulate);
    });
  }

  void copy_rows(LayerContext& context, int64_t first, Tensor& rows) override {
    const AcquiredWeight weight(context, ids_.weight);
    context.operations.copy((*weight).rows(first, first + rows.dim(0)), rows);
  }

 private:
  MatrixIds ids_;
};

class SplitLinear final : public Linear {
 public:
  SplitLinear(std::vector<std::unique_ptr<Linear>> parts, std::vector<int64_t> widths)
      : parts_(std::move(parts)), widths_(std::move(widths)) {
    COLLIE_ASSERT(parts_.size() == widths_.size(), "{} parts of {} widths", parts_.size(), widths_.size());
  }

  void forward(LayerContext& context, const Tensor& x, Tensor& y, LinearStash* stash) override {
    if (stash) stash->parts.resize(parts_.size());
    int64_t begin = 0;
    for (size_t i = 0; i < parts_.size(); ++i) {
      Tensor columns = y.columns(begin, begin + widths_[i]);
      parts_[i]->forward(context, x, columns, stash ? &stash->parts[i] : nullptr);
      begin += widths_[i];
    }
  }

  void backward_input(LayerContext& context, const Tensor& dy, Tensor& dx, bool accumulate,
                      LinearStash& stash) override {
    int64_t begin = 0;
    for (size_t i = 0; i < parts_.size(); ++i) {
      parts_[i]->backward_input(context, dy.columns(begin, begin + widths_[i]), dx, accumulate || i > 0,
                                stash.parts.at(i));
      begin += widths_[i];
    }
  }

  void skip_input(LayerContext& context, const Tensor& dy, LinearStash& stash) override {
    int64_t begin = 0;
    for (size_t i = 0; i < parts_.size(); ++i) {
      parts_[i]->skip_input(context, dy.columns(begin, begin + widths_[i]), stash.parts.at(i));
      begin += widths_[i];
    }
  }

  // The last one first, as layers do.
  void backward_weight(LayerContext& context, const Tensor& x, const Tensor& dy,
                       LinearStash& stash) override {
    int64_t end = dy.dim(1);
    for (size_t i = parts_.size(); i-- > 0;) {
      parts_[i]->backward_weight(context, x, dy.columns(end - widths_[i], end), stash.parts.at(i));
      end -= widths_[i];
    }
  }

  void copy_rows(LayerContext&, int64_t, Tensor&) override {
    COLLIE_ASSERT(false, "the rows of a matrix of {} parts were asked for; each part has its own",
                  parts_.size());
  }

 private:
  std::vector<std::unique_ptr<Linear>> parts_;
  std::vector<int64_t> widths_;
};

}  // namespace

void LinearStash::append_to(std::vector<Tensor*>& all) {
  for (Tensor& tensor : tensors) all.push_back(&tensor);
  for (LinearStash& part : parts) part.append_to(all);
}

std::unique_ptr<Linear> make_dense_linear(const MatrixIds& matrix) {
  COLLIE_ASSERT(matrix.adapters.empty() && !matrix.vector.exists(),
                "a matrix with adapters is made as one without");
  if (matrix.is_quantised) return make_quantised_linear(matrix);
  return std::make_unique<DenseLinear>(matrix);
}

std::unique_ptr<Linear> make_split_linear(std::vector<std::unique_ptr<Linear>> parts,
                                          std::vector<int64_t> widths) {
  return std::make_unique<SplitLinear>(std::move(parts), std::move(widths));
}

}  // namespace collie
