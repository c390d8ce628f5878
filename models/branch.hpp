// A branch of a decoder block: it reads the residual stream through a norm, computes (attention or the MLP),
// and what it gives is added to the stream, through a second norm where the model has one, and with a
// bottleneck where it has that. Or it is added to α times what the norm gave (ModelConfig::residual_scale).
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "models/attention.hpp"
#include "models/bottleneck.hpp"
#include "models/dropout.hpp"
#include "models/norm.hpp"
#include "models/tensor_parallel.hpp"

namespace collie {

// Of what the layer gives.
struct BranchDropout {
  double rate = 0;
  std::string place;  // in the model
};

// What a branch keeps of one micro-batch. All [tokens, hidden] but the statistics. What is recomputed is
// undefined from forward until backward_input.
template <class Layer>
struct BranchStash {
  Tensor input, statistics, normed;  // normed is input itself where there is no norm
  typename Layer::Stash layer;
  Tensor given, given_statistics;  // what the layer gives, where a norm reads it
  BottleneckStash bottleneck;
  // From backward_input on, for backward_weight:
  Tensor d_output, d_given, d_normed;

  void append_kept_to(std::vector<Tensor*>& all) {
    for (Tensor* tensor : {&input, &statistics, &normed, &given, &given_statistics}) all.push_back(tensor);
    layer.append_kept_to(all);
    bottleneck.append_kept_to(all);
  }
};

template <class Layer>
class Branch {
 public:
  using Stash = BranchStash<Layer>;

  // A norm without a weight is none.
  Branch(const NormSettings& settings, const NormIds& norm, Layer layer, const NormIds& output_norm,
         const BranchDropout& dropout, std::optional<Bottleneck> bottleneck, double residual_scale)
      : residual_scale_(residual_scale),
        dropout_(dropout),
        bottleneck_(std::move(bottleneck)),
        layer_(std::move(layer)),
        norm_trained_(norm.weight != no_parameter && norm.trained) {
    if (norm.weight != no_parameter) norm_.emplace(norm, settings);
    if (output_norm.weight != no_parameter) output_norm_.emplace(output_norm, settings);
    COLLIE_ASSERT(residual_scale_ == 0 || norm_, "a branch without a norm has a residual scaled by {}",
                  residual_scale_);
  }

  const Layer& layer() const { return layer_; }

  // Settles the stream and leaves in stream.delta what the branch adds to it. `stash` is null where there is
  // no backward. Returns what the branch has read: the stream as it was.
  Tensor forward(LayerContext& context, const TokenLayout& layout, ResidualStream& stream, Stash* stash,
                 Category of_output) const {
    const Category category = category_of(stash);
    Tensor statistics;
    Tensor x = read(context, stream, category, statistics);
    Tensor input = stream.x;
    if (stash) stash->input = input;
    replace_residual(context.operations, x, category, stream);
    stream.delta = context.operations.empty(x.shape(), output_norm_ ? category : of_output);
    layer_.forward(context, layout, x, stream.delta, stash ? &stash->layer : nullptr);
    drop(context, layout, stream.delta);
    if (stash) {
      stash->statistics = std::move(statistics);
      stash->normed = std::move(x);
    }
    if (output_norm_) normalise_output(context, stream.delta, stash, of_output);
    if (bottleneck_) bottleneck_->forward(context, stream, stash ? &stash->bottleneck : nullptr);
    return input;
  }

  // The next tokens of sequences (Layer is Attention).
  void decode(LayerContext& context, const TokenLayout& layout, ResidualStream& stream,
              std::span<DecodedSequence> sequences) const {
    Tensor statistics;
    const Tensor x = read(context, stream, Category::workspace, statistics);
    replace_residual(context.operations, x, Category::workspace, stream);
    stream.delta = context.operations.empty(x.shape(), Category::workspace);
    layer_.decode(context, layout, x, stream.delta, sequences);
    if (output_norm_) normalise_output(context, stream.delta, nullptr, Category::workspace);
    if (bottleneck_) bottleneck_->forward(context, stream, nullptr);
  }

  // Fills the stash as forward does, from the stream, which it settles; what the branch adds is not computed
  // if neither a norm nor a bottleneck reads it.
  void keep(LayerContext& context, const TokenLayout& layout, ResidualStream& stream, Stash& stash) const {
    if (output_norm_ || bottleneck_) {
      forward(context, layout, stream, &stash, Category::workspace);
      return;
    }
    stash.normed = read(context, stream, Category::activations, stash.statistics);
    stash.input = stream.x;
    layer_.keep(context, layout, stash.normed, stash.layer);
  }

  // What costs no matrix product, and computing it again.
  void forget_what_is_cheap(Stash& stash) const {
    stash.normed = Tensor();
    layer_.forget_what_is_cheap(stash.layer);
  }
  void compute_what_is_cheap(LayerContext& context, Stash& stash) const {
    ResidualStream stream{stash.input, {}};
    stash.normed = read(context, stream, Category::activations, stash.statistics);
    layer_.compute_what_is_cheap(context.operations, stash.layer);
  }

  // d_output [tokens, hidden] is of the stream after the branch. Returns d_residual + the gradient through
  // the branch; undefined if it is not `wanted`.
  Tensor backward_input(LayerContext& context, const TokenLayout& layout, const Tensor& d_output,
                        const Tensor& d_residual, Stash& stash, bool wanted = true) const {
    if (!bottleneck_) return through_layer(context, layout, d_output, d_residual, stash, wanted);
    const auto [given, residual] =
        bottleneck_->backward_input(context, d_output, d_residual, stash.bottleneck);
    return through_layer(context, layout, given, residual, stash, wanted);
  }

  // Empties the stash.
  void backward_weight(LayerContext& context, Stash& stash) const {
    if (bottleneck_) bottleneck_->backward_weight(context, stash.bottleneck);
    stash.bottleneck = {};
    if (output_norm_)
      output_norm_->backward_weight(context, stash.d_output, stash.given, stash.given_statistics);
    stash.given = Tensor();
    layer_.backward_weight(context, stash.normed, stash.d_given, stash.layer);
    stash.normed = stash.d_given = stash.d_output = Tensor();
    if (norm_trained_) norm_->backward_weight(context, stash.d_normed, stash.input, stash.statistics);
    stash = Stash();
  }

 private:
  // The same without the bottleneck.
  Tensor through_layer(LayerContext& context, const TokenLayout& layout, const Tensor& d_output,
                       const Tensor& d_residual, Stash& stash, bool wanted) const {
    Operations& operations = context.operations;
    const Shape shape = d_output.shape();
    stash.d_output = stash.d_given = d_output;
    if (output_norm_) {
      stash.d_given = operations.empty(shape, Category::activations);
      output_norm_->backward_input(context, d_output, stash.given, stash.given_statistics, {}, stash.d_given);
    }
    if (wanted || norm_trained_) stash.d_normed = operations.empty(shape, Category::activations);
    if (context.dropout && dropout_.rate > 0) {
      Tensor kept = operations.empty(shape, Category::activations);
      operations.copy(stash.d_given, kept);
      drop(context, layout, kept);
      stash.d_given = std::move(kept);
    }
    layer_.backward_input(context, layout, stash.d_given, stash.d_normed, stash.layer);
    if (residual_scale_ != 0 && stash.d_normed.defined()) add_scaled(operations, d_residual, stash.d_normed);
    if (!wanted) return {};
    Tensor d_input = operations.empty(shape, Category::activations);
    if (norm_)
      norm_->backward_input(context, stash.d_normed, stash.input, stash.statistics,
                            residual_scale_ == 0 ? d_residual : Tensor(), d_input);
    else
      operations.add(d_residual, stash.d_normed, d_input);
    return d_input;
  }

  // What the branch adds to, if it is not what the norm has read: α times what that gave, `normed`.
  void replace_residual(Operations& operations, const Tensor& normed, Category category,
                        ResidualStream& stream) const {
    if (residual_scale_ == 0) return;
    stream.x = operations.empty(normed.shape(), category);
    operations.copy(normed, stream.x);
    operations.scale(stream.x, residual_scale_);
  }

  // to += α x
  void add_scaled(Operations& operations, const Tensor& x, Tensor& to) const {
    Tensor scaled = operations.empty(x.shape(), Category::workspace);
    operations.copy(x, scaled);
    operations.scale(scaled, residual_scale_);
    operations.add(to, scaled, to);
  }

  static Category category_of(const Stash* stash) {
    return stash ? Category::activations : Category::workspace;
  }

  // What the layer reads: the norm of the stream, which is settled by it, or the stream itself.
  Tensor read(LayerContext& context, ResidualStream& stream, Category category, Tensor& statistics) const {
    Operations& operations = context.operations;
    if (!norm_) return stream.sum(operations);
    Tensor y = operations.empty(stream.x.shape(), category);
    statistics = norm_->empty_statistics(operations, y.dim(0), category);
    norm_->forward(context, stream, y, statistics);
    return y;
  }

  void drop(LayerContext& context, const TokenLayout& layout, Tensor& x) const {
    drop_elements(context, dropout_.rate, dropout_.place, share_outside(context, layout.rows), x);
  }

  // Replaces `given` by its norm.
  void normalise_output(LayerContext& context, Tensor& given, Stash* stash, Category of_output) const {
    Operations& operations = context.operations;
    ResidualStream alone{given, {}};
    Tensor statistics = output_norm_->empty_statistics(operations, given.dim(0), category_of(stash));
    Tensor y = operations.empty(given.shape(), of_output);
    output_norm_->forward(context, alone, y, statistics);
    if (stash) {
      stash->given = std::move(given);
      stash->given_statistics = std::move(statistics);
    }
    given = std::move(y);
  }

  double residual_scale_;  // α; 0: the stream itself
  BranchDropout dropout_;
  std::optional<Bottleneck> bottleneck_;
  std::optional<Norm> norm_, output_norm_;
  Layer layer_;
  bool norm_trained_;
};

}  // namespace collie
