#include "peft/triplet_linear.hpp"

#include <utility>

#include "models/access.hpp"
#include "peft/dropped_input.hpp"
#include "peft/orthogonality.hpp"

namespace collie {
namespace {

// The stash's tensors, because the weights may be gone when their gradients are taken: p = scale · A drop(x)
// and p ⊙ E [tokens, rank], and, once they are known, d = dy B and scale · d ⊙ E [tokens, rank].
enum Kept : size_t { narrow, valued, d_narrow, d_valued };
// Its parts: that of the base; and what the gradients of A and B have added to them, a tensor or nothing.
enum Part : size_t { of_base, of_a, of_b, parts };

class TripletLinear final : public Linear {
 public:
  TripletLinear(std::unique_ptr<Linear> base, const LowRankIds& adapter)
      : base_(std::move(base)), adapter_(adapter) {}

  void forward(LayerContext& context, const Tensor& x, Tensor& y, LinearStash* stash) override {
    base_->forward(context, x, y, part(stash));
    const Tensor p = narrowed(context, x, stash != nullptr), values = valued_of(context, p, stash != nullptr);
    if (stash != nullptr) stash->tensors = {p, values};
    const AcquiredWeight b(context, adapter_.b);
    context.operations.gemm(GemmForm::nt, values, *b, y, true);
  }

  void keep(LayerContext& context, const Tensor& x, LinearStash& stash) override {
    base_->keep(context, x, *part(&stash));
    const Tensor p = narrowed(context, x, true);
    stash.tensors = {p, valued_of(context, p, true)};
  }

  void backward_input(LayerContext& context, const Tensor& dy, Tensor& dx, bool accumulate,
                      LinearStash& stash) override {
    base_->backward_input(context, dy, dx, accumulate, *part(&stash));
    keep_gradients(context, dy, stash);
    const AcquiredWeight a(context, adapter_.a);
    add_to_input(context, adapter_, stash.tensors.at(Kept::d_valued), *a, dx);
  }

  void skip_input(LayerContext& context, const Tensor& dy, LinearStash& stash) override {
    base_->skip_input(context, dy, *part(&stash));
    keep_gradients(context, dy, stash);
  }

  void backward_weight(LayerContext& context, const Tensor& x, const Tensor& dy,
                       LinearStash& stash) override {
    Operations& operations = context.operations;
    contribute(context, adapter_.values, [&](Tensor& gradient, bool accumulate) {
      Tensor of_values = gradient.reshape({gradient.numel()});
      operations.column_dots(stash.tensors.at(Kept::d_narrow), stash.tensors.at(Kept::narrow), of_values,
                             accumulate);
    });
    contribute(context, adapter_.b, [&](Tensor& gradient, bool accumulate) {
      operations.gemm(GemmForm::tn, dy, stash.tensors.at(Kept::valued), gradient, accumulate);
      add_term(context, stash.parts.at(Part::of_b), gradient);
    });
    contribute(context, adapter_.a, [&](Tensor& gradient, bool accumulate) {
      operations.gemm(GemmForm::tn, stash.tensors.at(Kept::d_valued), dropped_input(context, adapter_, x),
                      gradient, accumulate);
      add_term(context, stash.parts.at(Part::of_a), gradient);
    });
    base_->backward_weight(context, x, dy, *part(&stash));
  }

  void copy_rows(LayerContext&, int64_t, Tensor&) override {
    COLLIE_ASSERT(false, "the rows of a matrix with triplets were asked for; nobody has a use for them");
  }

 private:
  static LinearStash* part(LinearStash* stash) {
    if (stash == nullptr) return nullptr;
    stash->parts.resize(Part::parts);
    return &stash->parts[Part::of_base];
  }

  static Category category(bool is_kept) { return is_kept ? Category::activations : Category::workspace; }

  // scale · A drop(x) [tokens, rank]
  Tensor narrowed(LayerContext& context, const Tensor& x, bool is_kept) const {
    const AcquiredWeight a(context, adapter_.a);
    Tensor result = context.operations.empty({x.dim(0), (*a).dim(0)}, category(is_kept));
    context.operations.gemm(GemmForm::nt, dropped_input(context, adapter_, x), *a, result, false);
    context.operations.scale(result, adapter_.scale);
    return result;
  }

  // x ⊙ E [tokens, rank]
  Tensor valued_of(LayerContext& context, const Tensor& x, bool is_kept) const {
    const AcquiredWeight values(context, adapter_.values);
    Tensor result = context.operations.empty(x.shape(), category(is_kept));
    context.operations.scale_columns(x, (*values).reshape({x.dim(1)}), result);
    return result;
  }

  void keep_gradients(LayerContext& context, const Tensor& dy, LinearStash& stash) const {
    Tensor d;
    {
      const AcquiredWeight b(context, adapter_.b);
      d = context.operations.empty({dy.dim(0), (*b).dim(1)}, Category::activations);
      context.operations.gemm(GemmForm::nn, dy, *b, d, false);
    }
    Tensor values = valued_of(context, d, true);
    context.operations.scale(values, adapter_.scale);
    stash.tensors.push_back(d);
    stash.tensors.push_back(values);
    if (!context.regularises || context.sink == nullptr || adapter_.orthogonality == 0) return;
    keep_term(context, {adapter_.a, true, adapter_.shares_rows, adapter_.primary_rows_of_a},
              stash.parts.at(Part::of_a));
    keep_term(context, {adapter_.b, false, !adapter_.shares_rows, adapter_.primary_rows_of_b},
              stash.parts.at(Part::of_b));
  }

  void keep_term(LayerContext& context, const TripletMatrix& matrix, LinearStash& stash) const {
    const Tensor term = orthogonality_gradient(context, matrix, adapter_.orthogonality);
    if (term.defined()) stash.tensors = {term};
  }

  // Gradients may be narrower than the term.
  static void add_term(LayerContext& context, const LinearStash& stash, Tensor& gradient) {
    if (stash.tensors.empty()) return;
    Tensor term = stash.tensors.front(), part = gradient.rows(0, term.dim(0));
    if (term.dtype() != gradient.dtype()) {
      term = context.operations.empty(part.shape(), gradient.dtype(), Category::workspace);
      context.operations.convert(stash.tensors.front(), term);
    }
    context.operations.add(part, term, part);
  }

  std::unique_ptr<Linear> base_;
  LowRankIds adapter_;
};

}  // namespace

std::unique_ptr<Linear> make_triplet_linear(std::unique_ptr<Linear> base, const LowRankIds& adapter) {
  return std::make_unique<TripletLinear>(std::move(base), adapter);
}

}  // namespace collie
