#include "models/stage_model.hpp"

#include <optional>
#include <utility>

#include "models/block.hpp"
#include "models/embedding.hpp"
#include "models/head.hpp"
#include "models/parameter_list.hpp"
#include "models/rotary.hpp"
#include "models/stash.hpp"

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

class DecoderStage final : public StageModel {
 public:
  DecoderStage(const ModelConfig& config, const StageRange& range, Operations& operations)
      : config_(config), range_(range) {
    if (range.embedding) embedding_.emplace(add_embedding(config, parameters_));
    const RotaryTables tables = make_rotary_tables(config, operations);
    for (int64_t block = range.first_block; block < range.last_block; ++block)
      blocks_.emplace_back(config, add_block(config, block, parameters_), tables);
    if (range.head) {
      const RmsNorm norm(add_final_norm(config, parameters_), config.rms_norm_eps);
      head_.emplace(norm, make_dense_linear(add_head(config, parameters_)), config.vocab_size);
    }
  }

  const StageRange& range() const override { return range_; }
  const std::vector<Parameter>& parameters() const override { return parameters_; }

  ForwardResult forward(LayerContext& context, const MicroBatch& batch, const Tensor& input,
                        double gradient_scale, Loss& loss, ActivationStash& stash) override {
    stash.contents = std::make_unique<ActivationStash::Contents>();
    ActivationStash::Contents& contents = *stash.contents;
    contents.blocks.resize(blocks_.size());
    ForwardResult result;
    result.output = run_blocks(context, batch, input, &contents.blocks);
    if (head_) {
      result.loss_sum = head_->forward(context, batch, result.output, gradient_scale, loss, contents.head);
      result.output = Tensor();
    }
    return result;
  }

  Tensor backward_input(LayerContext& context, const MicroBatch& batch, const Tensor& d_output,
                        ActivationStash& stash) override {
    ActivationStash::Contents& contents = contents_of(stash);
    const TokenLayout layout = training_layout(batch);
    COLLIE_ASSERT(d_output.defined() != head_.has_value(),
                  "d_output comes from the stage after, or from the head");
    Tensor gradient = head_ ? head_->backward_input(context, contents.head) : d_output;
    for (size_t i = blocks_.size(); i-- > 0;)
      gradient = blocks_[i].backward_input(context, layout, gradient, contents.blocks[i]);
    if (!embedding_) return gradient;
    contents.d_embedding = std::move(gradient);
    return {};
  }

  void backward_weight(LayerContext& context, const MicroBatch& batch, ActivationStash& stash) override {
    ActivationStash::Contents& contents = contents_of(stash);
    if (head_) head_->backward_weight(context, contents.head);
    for (size_t i = blocks_.size(); i-- > 0;) blocks_[i].backward_weight(context, contents.blocks[i]);
    if (embedding_) embedding_->backward_weight(context, batch, contents.d_embedding);
    stash.contents.reset();
  }

  ForwardResult evaluate(LayerContext& context, const MicroBatch& batch, const Tensor& input,
                         Loss& loss) override {
    ForwardResult result;
    result.output = run_blocks(context, batch, input, nullptr);
    if (head_) {
      result.loss_sum = head_->evaluate(context, batch, result.output, loss);
      result.output = Tensor();
    }
    return result;
  }

  KeyValueCache make_cache(Operations& operations, int64_t capacity) const override {
    COLLIE_ASSERT(capacity >= 0, "a cache for {} tokens", capacity);
    KeyValueCache cache;
    cache.contents = std::make_unique<KeyValueCache::Contents>();
    cache.contents->capacity = capacity;
    for (const DecoderBlock& block : blocks_)
      cache.contents->blocks.push_back(
          operations.empty({capacity, block.cache_width()}, Category::activations));
    return cache;
  }

  Tensor decode(LayerContext& context, const MicroBatch& batch, const Tensor& input,
                KeyValueCache& cache) override {
    COLLIE_ASSERT(cache.contents && cache.contents->blocks.size() == blocks_.size(),
                  "the cache was not made by this stage");
    KeyValueCache::Contents& contents = *cache.contents;
    const auto tokens = static_cast<int64_t>(batch.tokens.size());
    const int64_t cached = contents.length, keys = cached + tokens;
    COLLIE_ASSERT(tokens > 0, "decode needs a token");
    COLLIE_ASSERT(keys <= contents.capacity, "{} tokens do not fit a cache for {}", keys, contents.capacity);
    check_positions(batch);
    const TokenLayout layout{{{0, static_cast<int32_t>(tokens)}, {0, static_cast<int32_t>(keys)}},
                             batch.positions};
    Tensor x = stage_input(context, batch, input, Category::workspace);
    for (size_t i = 0; i < blocks_.size(); ++i)
      x = blocks_[i].decode(context, layout, x, contents.blocks[i], cached);
    contents.length = keys;
    return head_ ? head_->logits(context, x.rows(tokens - 1, tokens)) : x;
  }

 private:
  static ActivationStash::Contents& contents_of(ActivationStash& stash) {
    COLLIE_ASSERT(stash.contents != nullptr, "backward without a forward: the stash is empty");
    return *stash.contents;
  }

  void check_positions(const MicroBatch& batch) const {
    COLLIE_ASSERT(batch.positions.size() == batch.tokens.size(), "{} positions for {} tokens",
                  batch.positions.size(), batch.tokens.size());
    for (const int32_t position : batch.positions)
      if (position < 0 || position >= config_.max_position_embeddings)
        throw RunError("position {} is outside the model's max_position_embeddings of {}", position,
                       config_.max_position_embeddings);
  }

  static TokenLayout training_layout(const MicroBatch& batch) {
    return {{batch.document_starts, batch.document_starts}, batch.positions};
  }

  // What the first block reads: the embedded tokens, or what came from the stage before.
  Tensor stage_input(LayerContext& context, const MicroBatch& batch, const Tensor& input,
                     Category category) const {
    const Shape shape{static_cast<int64_t>(batch.tokens.size()), config_.hidden_size};
    if (!embedding_) {
      COLLIE_ASSERT(input.defined() && input.shape() == shape, "the stage's input is {}, should be {}",
                    input.defined() ? input.shape().to_string() : "undefined", shape.to_string());
      return input;
    }
    Tensor embedded = context.operations.empty(shape, category);
    embedding_->forward(context, batch, embedded);
    return embedded;
  }

  Tensor run_blocks(LayerContext& context, const MicroBatch& batch, const Tensor& input,
                    std::vector<BlockStash>* stashes) const {
    check_positions(batch);
    COLLIE_ASSERT(!batch.document_starts.empty() && batch.document_starts.front() == 0 &&
                      batch.document_starts.back() == static_cast<int32_t>(batch.tokens.size()),
                  "document_starts must run from 0 to {} tokens", batch.tokens.size());
    const TokenLayout layout = training_layout(batch);
    Tensor x = stage_input(context, batch, input, stashes ? Category::activations : Category::workspace);
    for (size_t i = 0; i < blocks_.size(); ++i)
      x = blocks_[i].forward(context, layout, x, stashes ? &(*stashes)[i] : nullptr);
    return x;
  }

  ModelConfig config_;
  StageRange range_;
  std::vector<Parameter> parameters_;
  std::optional<Embedding> embedding_;
  std::vector<DecoderBlock> blocks_;
  std::optional<Head> head_;
};

}  // namespace

void check_shard(const ModelConfig&, const ModelShard& shard) {
  COLLIE_ASSERT(shard.tensor_size == 1 && shard.context_size == 1, "shards are not there yet");
}

std::unique_ptr<StageModel> make_stage_model(const ModelConfig& config, const StageRange& range,
                                             Operations& operations, const ModelShard& shard) {
  check_range(config, range);
  check_shard(config, shard);
  return std::make_unique<DecoderStage>(config, range, operations);
}

}  // namespace collie
