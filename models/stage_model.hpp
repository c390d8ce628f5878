// One stage of a decoder: a run of blocks, with the embedding before the first and the norm, head and loss
// after the last. Forward, backward for the input and backward for the weights are separate calls; the head
// is the exception (its loss, d(hidden) and weight gradient come from one pass over chunks of logits, in
// forward).
#pragma once

#include <memory>
#include <vector>

#include "io/batch.hpp"
#include "kernels/operations.hpp"
#include "models/activation_memory.hpp"
#include "models/linear.hpp"
#include "models/loss.hpp"
#include "models/model_spec.hpp"
#include "models/parameter.hpp"
#include "models/stage_range.hpp"

namespace collie {

// What a stage keeps of one micro-batch from its forward until its weight gradients are done. Opaque to
// callers, movable; dropping it frees the memory.
class ActivationStash {
 public:
  struct Contents;
  ActivationStash();
  ~ActivationStash();
  ActivationStash(ActivationStash&&) noexcept;
  ActivationStash& operator=(ActivationStash&&) noexcept;
  std::unique_ptr<Contents> contents;
};

// A stage's keys and values of several sequences, for generation. StageModel::start_sequence() adds one.
class KeyValueCache {
 public:
  static constexpr size_t max_sequences = 256;
  void end(int64_t sequence);  // frees its memory

  struct Contents;
  KeyValueCache();
  ~KeyValueCache();
  KeyValueCache(KeyValueCache&&) noexcept;
  KeyValueCache& operator=(KeyValueCache&&) noexcept;
  std::unique_ptr<Contents> contents;
};

// With a shard, context.tensor and context.context are of the rank's groups in every call (null where the
// group would be of one), and all ranks of a group make the same calls in the same order.
// A batch has the model's virtual tokens, if it has some (with_prompt()). context.sequence_tokens and
// context.prompt are the stage's own business. Before a layer is used, context.source is told so by
// prefetch().
class StageModel {
 public:
  virtual ~StageModel() = default;

  virtual const StageRange& range() const = 0;
  // In Hugging Face's order; a tied head beside its embedding, or alone, appears as a tied_copy.
  virtual const std::vector<Parameter>& parameters() const = 0;

  // Training. `input` [tokens, hidden] comes from the stage before (undefined where the embedding is here).
  // Returns [tokens, hidden], undefined where the head is here. Used only there: gradient_scale, 1 / (target
  // tokens of the whole global batch); and loss_sum f64 [1], to which the losses of the targets among the
  // rank's tokens are added: the same on all ranks of a tensor group, those of a context group add up to the
  // micro-batch's. The head's gradient goes to context.sink in this call.
  virtual Tensor forward(LayerContext& context, const MicroBatch& batch, const Tensor& input,
                         double gradient_scale, Loss& loss, Tensor& loss_sum, ActivationStash& stash) = 0;
  // d_output [tokens, hidden] (undefined where the head is here). Returns d(input), undefined where the
  // embedding is here; if no earlier stage is trained, it has the shape and no meaning. Keeps in the stash
  // what backward_weight needs.
  virtual Tensor backward_input(LayerContext& context, const MicroBatch& batch, const Tensor& d_output,
                                ActivationStash& stash) = 0;
  // Hands the weight gradients to context.sink, last block first, and empties the stash. Needs no weights.
  virtual void backward_weight(LayerContext& context, const MicroBatch& batch, ActivationStash& stash) = 0;

  // Both halves at once, layer by layer, so that a layer's gradients are complete, and its activations gone,
  // before the next layer's turn; the embedding's come before those of the first block. The same bits.
  virtual Tensor backward(LayerContext& context, const MicroBatch& batch, const Tensor& d_output,
                          ActivationStash& stash) = 0;

  // Evaluation: forward that keeps nothing. loss_sums: as in forward(); or, to tell documents apart, f64
  // [documents] of those pieces of documents whose tokens the rank has (documents_of()).
  virtual Tensor evaluate(LayerContext& context, const MicroBatch& batch, const Tensor& input, Loss& loss,
                          Tensor& loss_sums) = 0;

  // Generation. A sequence has a number that is not in the cache yet, and room for `capacity` tokens.
  virtual void start_sequence(Operations& operations, KeyValueCache& cache, int64_t sequence,
                              int64_t capacity) const = 0;
  // The next tokens of S sequences: document i of `batch` is appended to sequences[i]; none is empty. Returns
  // hidden states [tokens, hidden], or, where the head is here, the logits [S, vocab] of each sequence's last
  // token, on every rank. The ranks of a context group, and sequence parallelism, do not share this work:
  // each rank has all tokens.
  virtual Tensor decode(LayerContext& context, const MicroBatch& batch, const Tensor& input,
                        KeyValueCache& cache, const std::vector<int64_t>& sequences) = 0;
};

// `operations` is used for what the model itself owns (the rotary tables). `linears` makes every matrix.
// Throws UserError where the range does not fit the config.
std::unique_ptr<StageModel> make_stage_model(const ModelSpec& model, const StageRange& range,
                                             Operations& operations, const ModelShard& shard = {},
                                             const ActivationMemory& memory = {},
                                             const LinearFactory& linears = make_dense_linear);

// The first of the stages that has a parameter which is trained. Those before it have no backward.
int first_trained_stage(const ModelSpec& model, const std::vector<StageRange>& ranges);

// The parameters() of such a stage.
std::vector<Parameter> stage_parameters(const ModelSpec& model, const StageRange& range,
                                        const ModelShard& shard);

// A piece of a document, of which a rank has the tokens. With context parallelism a document may be cut into
// several.
struct DocumentPiece {
  int64_t number = 0;   // of the document (MicroBatch::first_tokens)
  int64_t targets = 0;  // among its tokens here
};
// The pieces of a rank in their order. The batch must number its documents.
std::vector<DocumentPiece> documents_of(const MicroBatch& batch, const ModelShard& shard);

// All parameters of the whole model in canonical order (that of transformers' named_parameters(); the stages'
// parameters() one after another, but for tied copies): the order in which norms are combined.
std::vector<Parameter> model_parameters(const ModelSpec& model);
int64_t parameter_count(const ModelSpec& model);
int64_t trained_parameter_count(const ModelSpec& model);

// Initial values of what a rank holds of a parameter. That of element `index` of the whole tensor depends on
// (seed, name, index) alone.
void initialise(const Parameter& parameter, uint64_t seed, Operations& operations, Tensor& weight);
// The same for elements [begin, begin + flat.numel()) of what the rank holds, flattened; flat is 1-D.
void initialise_range(const Parameter& parameter, uint64_t seed, int64_t begin, Operations& operations,
                      Tensor& flat);

}  // namespace collie
