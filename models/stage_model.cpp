#include "models/stage_model.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "comm/collective_queue.hpp"
#include "models/blanks.hpp"
#include "models/block.hpp"
#include "models/context_slice.hpp"
#include "models/dropout.hpp"
#include "models/embedding.hpp"
#include "models/head.hpp"
#include "models/parameter_list.hpp"
#include "models/rotary.hpp"
#include "models/sharding.hpp"
#include "models/stash.hpp"
#include "models/tensor_parallel.hpp"

namespace collie {
namespace {

void check_range(const ModelConfig& config, const StageRange& range) {
  const int64_t blocks = config.num_hidden_layers;
  const auto refuse = [&](const char* reason) {
    throw UserError("a stage of blocks [{}, {}){}{} does not fit a model of {} blocks: {}", range.first_block,
                    range.last_block, range.embedding ? " with the embedding" : "",
                    range.head ? " with the head" : "", blocks, reason);
  };
  if (range.first_block < 0 || range.first_block > range.last_block || range.last_block > blocks)
    refuse("the blocks of a stage are a run from 0 up to that number");
  if (range.embedding && range.first_block != 0) refuse("the embedding stands before block 0");
  if (range.head && range.last_block != blocks) refuse("the head stands after the last block");
  if (range.first_block == range.last_block && !range.embedding && !range.head) refuse("the stage is empty");
}

// A rank's end of a group of `size`; null where it would be alone.
ProcessGroup* group_of(const char* what, ProcessGroup* group, int rank, int size) {
  if (size == 1) return nullptr;
  COLLIE_ASSERT(group != nullptr && group->rank() == rank && group->size() == size,
                "the {} group is {} of {}, should be {} of {}", what, group ? group->rank() : -1,
                group ? group->size() : 0, rank, size);
  return group;
}

CollectiveQueue* queue_of(const char* what, CollectiveQueue* queue, int rank, int size) {
  if (size == 1) return nullptr;
  COLLIE_ASSERT(queue != nullptr && queue->rank() == rank && queue->size() == size,
                "the queue of the {} group is of {} of {}, should be of {} of {}", what,
                queue ? queue->rank() : -1, queue ? queue->size() : 0, rank, size);
  return queue;
}

// The tokens of a micro-batch that are this rank's, and where they stand.
class LocalBatch {
 public:
  // `numbered`: whether the tokens' numbers in the run are needed. `config`: of a model whose angles depend
  // on more than the positions of tokens, else null.
  LocalBatch(const MicroBatch& batch, const ModelShard& shard, bool numbered,
             const ModelConfig* config = nullptr)
      : batch_(batch) {
    if (shard.context_size > 1) slice_ = slice_for_context(batch, shard.context_rank, shard.context_size);
    if (numbered) number_tokens();
    if (config != nullptr) find_angles(shard, *config);
  }

  const MicroBatch& operator*() const { return slice_ ? slice_->own : batch_; }
  int64_t tokens() const { return static_cast<int64_t>((**this).tokens.size()); }
  std::span<const uint64_t> rows() const { return rows_; }
  TokenLayout layout() const {
    const MicroBatch& own = **this;
    return {{own.document_starts, own.document_starts},
            own.positions,
            slice_ ? &*slice_ : nullptr,
            rows_,
            blanks_.first.empty() ? angles_ : blanks_.first,
            blanks_.contexts,
            blanks_.second};
  }

 private:
  void number_tokens() {
    const MicroBatch& own = **this;
    COLLIE_ASSERT(own.first_tokens.size() + 1 == own.document_starts.size(), "{} numbers for {} documents",
                  own.first_tokens.size(), own.document_starts.size() - 1);
    for (size_t i = 0; i < own.first_tokens.size(); ++i) {
      const int64_t first = own.first_tokens[i] * (own.virtual_tokens + 1);  // a document's stay its own
      for (int32_t token = own.document_starts[i]; token < own.document_starts[i + 1]; ++token)
        rows_.push_back(static_cast<uint64_t>(first + own.positions[static_cast<size_t>(token)]));
    }
  }

  // They are cut as positions are.
  void find_angles(const ModelShard& shard, const ModelConfig& config) {
    if (config.blanks.exist()) {
      COLLIE_ASSERT(!slice_, "documents with blanks are cut");  // check_shard() refuses it
      blanks_ = places_around_blanks(config.blanks, batch_);
      return;
    }
    angles_ = rotary_rows(config, batch_);
    if (!slice_) return;
    MicroBatch of_angles = batch_;
    of_angles.positions = std::move(angles_);
    angles_ = slice_for_context(of_angles, shard.context_rank, shard.context_size).own.positions;
  }

  const MicroBatch& batch_;
  std::vector<uint64_t> rows_;
  std::vector<int32_t> angles_;
  BlankPlaces blanks_;  // of a model that fills in blanks
  std::optional<ContextSlice> slice_;
};

class DecoderStage final : public StageModel {
 public:
  DecoderStage(const ModelSpec& model, const StageRange& range, Operations& operations,
               const ModelShard& shard, const ActivationMemory& memory, const LinearFactory& linears)
      : config_(model.architecture), range_(range), shard_(shard), offload_(memory.offload) {
    const ModelConfig& config = model.architecture;
    if (range.embedding) make_embedding(model);
    BlockRotations rotations;
    ModelConfig share = share_of(config, shard);
    if (!model.dropout) share.dropout = {};
    rates_ = share.dropout;
    drops_ = model.drops();
    for (int64_t block = range.first_block; block < range.last_block; ++block)
      blocks_.emplace_back(share, block, add_block(model, block, parameters_, shard),
                           rotations.of(config, block, operations), linears, memory.recompute,
                           model.bottleneck);
    if (range.head) {
      const Norm norm(add_final_norm(model, parameters_, shard), config.norm);
      head_.emplace(norm, linears(add_head(model, parameters_, shard)), config.vocab_size,
                    config.logit_soft_cap);
    }
    if (model.prompt.kind == PromptKind::prefix) prefix_ = model.prompt.tokens;
    find_lowest_trained(model);
  }

  const StageRange& range() const override { return range_; }
  const std::vector<Parameter>& parameters() const override { return parameters_; }

  Tensor forward(LayerContext& outer, const MicroBatch& batch, const Tensor& input, double gradient_scale,
                 Loss& loss, Tensor& loss_sum, ActivationStash& stash) override {
    check_batch(batch);
    stash.contents = std::make_unique<ActivationStash::Contents>();
    ActivationStash::Contents& contents = *stash.contents;
    contents.blocks.resize(blocks_.size());
    contents.on_host.resize(blocks_.size());
    const LocalBatch local(batch, shard_, outer.dropout.has_value() || (head_ && outer.labels.has_value()),
                           of_angles());
    LayerContext context = training_context(outer, local);
    ResidualStream stream = run_blocks(context, local, input, contents, true);
    if (!head_) return stream.sum(context.operations);
    context.source.prefetch(head_layer(), head_layer() - 1);  // its own backward follows
    head_->forward(context, *local, std::move(stream), gradient_scale, loss, loss_sum, contents.head,
                   local.rows());
    return {};
  }

  Tensor backward_input(LayerContext& outer, const MicroBatch& batch, const Tensor& d_output,
                        ActivationStash& stash) override {
    ActivationStash::Contents& contents = contents_of(stash);
    const LocalBatch local(batch, shard_, outer.dropout.has_value(), of_angles());
    LayerContext context = training_context(outer, local);
    const TokenLayout layout = local.layout();
    begin_prompt_backward(context, contents);
    Tensor gradient = output_gradient(context, d_output, contents);
    for (size_t i = blocks_.size(); i-- > 0 && is_reached(i);)
      gradient = block_backward_input(context, layout, gradient, contents, i);
    if (!embedding_) return gradient;
    if (trains_embedding()) embedding_backward_input(context, local, gradient, contents);
    contents.d_embedding = std::move(gradient);
    return {};
  }

  void backward_weight(LayerContext& outer, const MicroBatch& batch, ActivationStash& stash) override {
    ActivationStash::Contents& contents = contents_of(stash);
    const LocalBatch local(batch, shard_, outer.dropout.has_value(), of_angles());
    LayerContext context = training_context(outer, local);
    if (head_) head_->backward_weight(context, contents.head);
    for (size_t i = blocks_.size(); i-- > 0 && is_reached(i);)
      blocks_[i].backward_weight(context, contents.blocks[i]);
    if (trains_embedding()) embedding_backward_weight(context, local, contents);
    stash.contents.reset();
  }

  Tensor backward(LayerContext& outer, const MicroBatch& batch, const Tensor& d_output,
                  ActivationStash& stash) override {
    ActivationStash::Contents& contents = contents_of(stash);
    const LocalBatch local(batch, shard_, outer.dropout.has_value(), of_angles());
    LayerContext context = training_context(outer, local);
    const TokenLayout layout = local.layout();
    begin_prompt_backward(context, contents);
    Tensor gradient = output_gradient(context, d_output, contents);
    if (head_) head_->backward_weight(context, contents.head);
    for (size_t i = blocks_.size(); i-- > 0 && is_reached(i);) {
      gradient = block_backward_input(context, layout, gradient, contents, i);
      // Whoever sums the embedding's gradient over ranks does so while the block's is computed.
      if (i == 0 && trains_embedding())
        embedding_backward(context, local, std::exchange(gradient, {}), contents);
      blocks_[i].backward_weight(context, contents.blocks[i]);
    }
    if (blocks_.empty() && trains_embedding())
      embedding_backward(context, local, std::exchange(gradient, {}), contents);
    stash.contents.reset();
    return embedding_ ? Tensor() : gradient;
  }

  Tensor evaluate(LayerContext& outer, const MicroBatch& batch, const Tensor& input, Loss& loss,
                  Tensor& loss_sums) override {
    check_batch(batch);
    const LocalBatch local(batch, shard_, outer.dropout.has_value(), of_angles());
    LayerContext context = training_context(outer, local);
    ActivationStash::Contents passing;  // what the encoder of virtual tokens gives
    Tensor output = run_blocks(context, local, input, passing, false).sum(context.operations);
    if (!head_) return output;
    const auto documents = static_cast<int64_t>((*local).document_starts.size()) - 1;
    COLLIE_ASSERT(loss_sums.numel() == 1 || loss_sums.numel() == documents, "{} sums for {} documents",
                  loss_sums.numel(), documents);
    context.source.prefetch(head_layer(), -1);
    head_->evaluate(context, *local, output, loss, loss_sums);
    return {};
  }

  void start_sequence(Operations& operations, KeyValueCache& cache, int64_t sequence,
                      int64_t capacity) const override {
    COLLIE_ASSERT(capacity >= 0, "a cache for {} tokens", capacity);
    auto& sequences = cache.contents->sequences;
    COLLIE_ASSERT(sequences.size() < KeyValueCache::max_sequences, "a cache for more than {} sequences",
                  KeyValueCache::max_sequences);
    COLLIE_ASSERT(!sequences.contains(sequence), "sequence {} is in the cache already", sequence);
    KeyValueCache::Contents::Sequence& added = sequences[sequence];
    added.capacity = capacity;
    for (const DecoderBlock& block : blocks_)
      added.blocks.push_back(
          operations.empty({prefix_ + capacity, block.cache_width()}, Category::activations));
  }

  Tensor decode(LayerContext& outer, const MicroBatch& batch, const Tensor& input, KeyValueCache& cache,
                const std::vector<int64_t>& sequences) override {
    check_batch(batch);
    const std::vector<KeyValueCache::Contents::Sequence*> held = held_sequences(batch, cache, sequences);
    const std::vector<int32_t> angles = decoded_angles(batch, held);
    const BlankPlaces blanks = decoded_blanks(batch, held);
    const TokenLayout layout{{},
                             batch.positions,
                             nullptr,
                             {},
                             blanks.first.empty() ? angles : blanks.first,
                             blanks.contexts,
                             blanks.second};
    LayerContext context = decoding_context(outer);
    const bool begins =
        std::find(batch.positions.begin(), batch.positions.end(), prefix_) != batch.positions.end();
    ActivationStash::Contents passing;
    ResidualStream stream{
        stage_input(context, batch, input, Category::workspace, begins ? &passing : nullptr), {}};
    std::vector<DecodedSequence> decoded(held.size());
    for (size_t i = 0; i < blocks_.size(); ++i) {
      for (size_t s = 0; s < held.size(); ++s)
        decoded[s] = {{batch.document_starts[s], batch.document_starts[s + 1]},
                      held[s]->blocks[i],
                      held[s]->length,
                      blanks.contexts.empty() ? 0 : blanks.contexts[s]};
      context.source.prefetch(block_layer(i), layer_after(block_layer(i)));
      stream = blocks_[i].decode(context, layout, std::move(stream), decoded);
    }
    for (size_t s = 0; s < held.size(); ++s)
      held[s]->length += batch.document_starts[s + 1] - batch.document_starts[s];
    const Tensor x = stream.sum(context.operations);
    if (!head_) return x;
    context.source.prefetch(head_layer(), -1);
    return head_->logits(context, last_tokens(context.operations, x, batch));
  }

 private:
  // The sequences that get the documents of `batch`, which fit.
  static std::vector<KeyValueCache::Contents::Sequence*> held_sequences(
      const MicroBatch& batch, KeyValueCache& cache, const std::vector<int64_t>& sequences) {
    COLLIE_ASSERT(batch.document_starts.size() == sequences.size() + 1, "{} documents for {} sequences",
                  batch.document_starts.size() - 1, sequences.size());
    std::vector<KeyValueCache::Contents::Sequence*> held;
    for (size_t s = 0; s < sequences.size(); ++s) {
      const auto found = cache.contents->sequences.find(sequences[s]);
      COLLIE_ASSERT(found != cache.contents->sequences.end(), "sequence {} is not in the cache",
                    sequences[s]);
      KeyValueCache::Contents::Sequence& sequence = found->second;
      COLLIE_ASSERT(std::find(held.begin(), held.end(), &sequence) == held.end(), "sequence {} comes twice",
                    sequences[s]);
      const int64_t tokens = batch.document_starts[s + 1] - batch.document_starts[s];
      COLLIE_ASSERT(tokens > 0, "decode needs a token of sequence {}", sequences[s]);
      COLLIE_ASSERT(sequence.length + tokens <= sequence.capacity, "{} tokens do not fit a cache for {}",
                    sequence.length + tokens, sequence.capacity);
      held.push_back(&sequence);
    }
    return held;
  }

  // Where angles depend on lengths, a sequence has those of the longest that it may become, from its first
  // token on: its cache cannot change its mind.
  std::vector<int32_t> decoded_angles(const MicroBatch& batch,
                                      const std::vector<KeyValueCache::Contents::Sequence*>& held) const {
    std::vector<int32_t> angles;
    if (!angles_depend_on_length(config_)) return angles;
    for (size_t s = 0; s < held.size(); ++s)
      for (int32_t token = batch.document_starts[s]; token < batch.document_starts[s + 1]; ++token)
        angles.push_back(
            rotary_row(config_, batch.positions[static_cast<size_t>(token)], prefix_ + held[s]->capacity));
    return angles;
  }

  // A sequence's first tokens here say where its blank is.
  BlankPlaces decoded_blanks(const MicroBatch& batch,
                             const std::vector<KeyValueCache::Contents::Sequence*>& held) const {
    BlankPlaces places;
    if (!config_.blanks.exist()) return places;
    for (size_t s = 0; s < held.size(); ++s) {
      const auto begin = static_cast<size_t>(batch.document_starts[s]),
                 count = static_cast<size_t>(batch.document_starts[s + 1]) - begin;
      if (held[s]->length == 0)
        held[s]->blank = find_blank(config_.blanks, std::span(batch.tokens).subspan(begin, count));
      if (!held[s]->blank)
        throw RunError("sequence {} begins without a blank to fill in; {}", s, right_blank(config_.blanks));
      places.add(*held[s]->blank, held[s]->length, static_cast<int64_t>(count));
    }
    return places;
  }

  // x [tokens, hidden] -> the last row of each document [documents, hidden].
  static Tensor last_tokens(Operations& operations, const Tensor& x, const MicroBatch& batch) {
    const auto documents = static_cast<int64_t>(batch.document_starts.size()) - 1;
    Tensor last = operations.empty({documents, x.dim(1)}, Category::workspace);
    for (int64_t document = 0; document < documents; ++document) {
      const int64_t end = batch.document_starts[static_cast<size_t>(document) + 1];
      Tensor row = last.rows(document, document + 1);
      operations.copy(x.rows(end - 1, end), row);
    }
    return last;
  }

  static ActivationStash::Contents& contents_of(ActivationStash& stash) {
    COLLIE_ASSERT(stash.contents != nullptr, "backward without a forward: the stash is empty");
    return *stash.contents;
  }

  // For LocalBatch.
  const ModelConfig* of_angles() const {
    return angles_depend_on_length(config_) || config_.blanks.exist() ? &config_ : nullptr;
  }

  void drop_embedded(LayerContext& context, const LocalBatch& local, Tensor& x) const {
    drop_elements(context, rates_.embedding, "embedding", share_outside(context, local.rows()), x);
  }

  void make_embedding(const ModelSpec& model) {
    const EmbeddingIds ids = add_embedding(model, parameters_, shard_);
    embedding_.emplace(ids, config_.vocab_size, config_.embedding_scale);
    if (!ids.prompt.has_encoder()) return;
    COLLIE_ASSERT(model.prompt.kind == PromptKind::embeddings || range_.head,
                  "the projection of a prefix with {} of {} blocks", range_.last_block,
                  config_.num_hidden_layers);
    encoder_.emplace(ids.prompt, model.prompt.encoder);
  }

  // What the encoder gave in forward, for its gradient and for what is computed again.
  void begin_prompt_backward(LayerContext& context, ActivationStash::Contents& contents) const {
    if (!encoder_) return;
    context.prompt = &contents.encoded;
    if (prefix_ == 0) return;
    contents.d_encoded = context.operations.empty(contents.encoded.shape(), Category::activations);
    context.d_prompt = &contents.d_encoded;
  }

  // All of the embedding's backward that needs weights. Drops what is dropped of d_output.
  void embedding_backward_input(LayerContext& context, const LocalBatch& local, Tensor& d_output,
                                ActivationStash::Contents& contents) const {
    drop_embedded(context, local, d_output);
    if (!encoder_) return;
    context.source.prefetch(0, -1);
    if (prefix_ == 0) contents.d_encoded = embedding_->backward_prompt(context, *local, d_output);
    encoder_->backward_input(context, contents.d_encoded, contents.prompt);
  }

  void embedding_backward_weight(LayerContext& context, const LocalBatch& local,
                                 ActivationStash::Contents& contents) const {
    embedding_->backward_weight(context, *local, std::exchange(contents.d_embedding, {}));
    if (encoder_) encoder_->backward_weight(context, contents.prompt);
  }

  void embedding_backward(LayerContext& context, const LocalBatch& local, Tensor d_output,
                          ActivationStash::Contents& contents) const {
    embedding_backward_input(context, local, d_output, contents);
    contents.d_embedding = std::move(d_output);
    embedding_backward_weight(context, local, contents);
  }

  // What comes from the stage after, or from the head.
  Tensor output_gradient(LayerContext& context, const Tensor& d_output,
                         ActivationStash::Contents& contents) const {
    COLLIE_ASSERT(d_output.defined() != head_.has_value(),
                  "d_output comes from the stage after, or from the head");
    if (!head_) return d_output;
    context.source.prefetch(head_layer(), head_layer() - 1);
    return head_->backward_input(context, contents.head);
  }

  Tensor block_backward_input(LayerContext& context, const TokenLayout& layout, const Tensor& d_output,
                              ActivationStash::Contents& contents, size_t block) const {
    context.source.prefetch(block_layer(block),
                            block > 0 && is_reached(block - 1) ? block_layer(block - 1) : -1);
    bring_back(contents, block);
    const bool wanted = lowest_trained_ < block_layer(block);
    Tensor d_input = blocks_[block].backward_input(context, layout, d_output, contents.blocks[block], wanted);
    return wanted ? d_input : d_output;  // an earlier stage gets a gradient, whatever it says
  }

  // Nobody needs the gradients of layers below the lowest one that is trained.
  void find_lowest_trained(const ModelSpec& model) {
    const auto is_trained = [](const Parameter& parameter) { return parameter.trainable; };
    const auto lowest = std::find_if(parameters_.begin(), parameters_.end(), is_trained);
    lowest_trained_ = lowest == parameters_.end() ? head_layer() + 1 : lowest->layer;
    if (range_.embedding) return;
    const auto below = stage_parameters(model, {0, range_.first_block, true, false}, {});
    if (std::any_of(below.begin(), below.end(), is_trained)) lowest_trained_ = -1;
  }
  // Whether a block has a backward.
  bool is_reached(size_t block) const { return lowest_trained_ <= block_layer(block); }
  bool trains_embedding() const { return embedding_ && lowest_trained_ == 0; }

  // Units of the stage, as parameters() numbers them.
  int block_layer(size_t block) const { return (embedding_ ? 1 : 0) + static_cast<int>(block); }
  int head_layer() const { return block_layer(blocks_.size()); }
  int layer_after(int layer) const {
    const int layers = block_layer(blocks_.size()) + (head_ ? 1 : 0);
    return layer + 1 < layers ? layer + 1 : -1;
  }

  // What the layers compute with: every group only where it is one, and who holds which tokens.
  LayerContext decoding_context(const LayerContext& outer) const {
    return {outer.operations, outer.source, outer.sink,
            group_of("tensor", outer.tensor, shard_.tensor_rank, shard_.tensor_size)};
  }
  LayerContext training_context(const LayerContext& outer, const LocalBatch& local) const {
    LayerContext context = decoding_context(outer);
    context.token_rows = local.rows();
    context.context = queue_of("context", outer.context, shard_.context_rank, shard_.context_size);
    if (drops_) context.dropout = outer.dropout;
    context.labels = outer.labels;
    context.regularises = outer.regularises;
    if (shard_.sequence_parallel && context.tensor != nullptr) context.sequence_tokens = local.tokens();
    return context;
  }

  void check_positions(const MicroBatch& batch) const {
    COLLIE_ASSERT(batch.positions.size() == batch.tokens.size(), "{} positions for {} tokens",
                  batch.positions.size(), batch.tokens.size());
    for (const int32_t position : batch.positions)
      if (position < 0 || position >= config_.max_position_embeddings)
        throw RunError("position {} is outside the model's max_position_embeddings of {}", position,
                       config_.max_position_embeddings);
  }

  // What the first block reads: the embedded tokens, or what came from the stage before. `encoded` gets what
  // the encoder of virtual tokens gives, if it is needed; it must last as long as context is used.
  Tensor stage_input(LayerContext& context, const MicroBatch& batch, const Tensor& input, Category category,
                     ActivationStash::Contents* encoded) const {
    auto tokens = static_cast<int64_t>(batch.tokens.size());
    if (context.sequence_tokens >= 0)
      tokens = share_of_tokens(tokens, shard_.tensor_rank, shard_.tensor_size).size();
    const Shape shape{tokens, config_.hidden_size};
    if (!embedding_) {
      COLLIE_ASSERT(input.defined() && input.shape() == shape, "the stage's input is {}, should be {}",
                    input.defined() ? input.shape().to_string() : "undefined", shape.to_string());
      return input;
    }
    context.source.prefetch(0, layer_after(0));
    if (encoder_ && encoded) {
      encoded->encoded = encoder_->forward(context, encoded->prompt);
      context.prompt = &encoded->encoded;
    }
    Tensor embedded = context.operations.empty(shape, category);
    embedding_->forward(context, batch, embedded);
    return embedded;
  }

  // The whole micro-batch, so that every rank of a context group finds the same.
  void check_batch(const MicroBatch& batch) const {
    check_positions(batch);
    COLLIE_ASSERT(!batch.document_starts.empty() && batch.document_starts.front() == 0 &&
                      batch.document_starts.back() == static_cast<int32_t>(batch.tokens.size()),
                  "document_starts must run from 0 to {} tokens", batch.tokens.size());
  }

  ResidualStream run_blocks(LayerContext& context, const LocalBatch& local, const Tensor& input,
                            ActivationStash::Contents& contents, bool keeps) const {
    const TokenLayout layout = local.layout();
    const Category category = keeps ? Category::activations : Category::workspace;
    ResidualStream stream{stage_input(context, *local, input, category, &contents), {}};
    if (embedding_) drop_embedded(context, local, stream.x);
    for (size_t i = 0; i < blocks_.size(); ++i) {
      context.source.prefetch(block_layer(i), layer_after(block_layer(i)));
      BlockStash* const stash = keeps && is_reached(i) ? &contents.blocks[i] : nullptr;
      stream = blocks_[i].forward(context, layout, std::move(stream), stash);
      if (stash && offload_) send_away(context.operations, contents, i);
    }
    return stream;
  }

  // What the block keeps goes to the host while the next ones compute. The last block's stays: its backward
  // is the first.
  void send_away(Operations& operations, ActivationStash::Contents& contents, size_t block) const {
    if (block + 1 == blocks_.size()) return;
    std::vector<Tensor> tensors;
    for (Tensor* tensor : contents.blocks[block].kept()) tensors.push_back(std::exchange(*tensor, {}));
    contents.on_host[block] = operations.offload(std::move(tensors));
  }

  // And back, while the block after it has its backward.
  void bring_back(ActivationStash::Contents& contents, size_t block) const {
    if (block > 0 && contents.on_host[block - 1]) contents.on_host[block - 1]->fetch();
    if (!contents.on_host[block]) return;
    std::vector<Tensor> tensors = contents.on_host[block]->take();
    contents.on_host[block].reset();
    const std::vector<Tensor*> places = contents.blocks[block].kept();
    for (size_t i = 0; i < places.size(); ++i) *places[i] = std::move(tensors[i]);
  }

  ModelConfig config_;
  StageRange range_;
  ModelShard shard_;
  bool offload_;
  DropoutRates rates_;  // those that are applied
  int64_t prefix_ = 0;  // virtual tokens that are keys and values alone
  bool drops_ = false;  // the rates or adapters do
  std::vector<Parameter> parameters_;
  std::optional<Embedding> embedding_;
  std::optional<PromptEncoder> encoder_;  // of virtual tokens
  std::vector<DecoderBlock> blocks_;
  std::optional<Head> head_;
  int lowest_trained_ = 0;  // the lowest layer with a parameter that is trained; -1: in an earlier stage
};

}  // namespace

std::vector<DocumentPiece> documents_of(const MicroBatch& batch, const ModelShard& shard) {
  const LocalBatch local(batch, shard, false);
  const MicroBatch& own = *local;
  COLLIE_ASSERT(own.first_tokens.size() + 1 == own.document_starts.size(), "{} numbers for {} documents",
                own.first_tokens.size(), own.document_starts.size() - 1);
  std::vector<DocumentPiece> pieces;
  for (size_t i = 0; i < own.first_tokens.size(); ++i) {
    const auto targets = std::count_if(own.labels.begin() + own.document_starts[i],
                                       own.labels.begin() + own.document_starts[i + 1],
                                       [](int32_t label) { return label != ignored_label; });
    pieces.push_back({own.first_tokens[i], targets});
  }
  return pieces;
}

std::unique_ptr<StageModel> make_stage_model(const ModelSpec& model, const StageRange& range,
                                             Operations& operations, const ModelShard& shard,
                                             const ActivationMemory& memory, const LinearFactory& linears) {
  check_range(model.architecture, range);
  check_shard(model.architecture, shard);
  return std::make_unique<DecoderStage>(model, range, operations, shard, memory, linears);
}

}  // namespace collie
