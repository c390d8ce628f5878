#include "runtime/model_worker.hpp"

#include <algorithm>
#include <cmath>

#include "base/error.hpp"
#include "base/failpoint.hpp"
#include "kernels/clip_factor.hpp"
#include "peft/adapted_linear.hpp"
#include "runtime/decoding_share.hpp"
#include "runtime/norm_nodes.hpp"
#include "runtime/weights_loading.hpp"

namespace collie {

using schedule::ActionKind;

// --- construction

ModelWorker::ModelWorker(ModelWorkerSettings settings) : settings_(std::move(settings)) {
  place_ = settings_.grid.place_of(settings_.rank);
  operations_ = settings_.make_operations(settings_.threads, settings_.account);
  loss_ = losses().find(settings_.loss)();
  if (settings_.training) optimizers_ = std::make_unique<ParameterGroups>(settings_.optimizer);
  for (int stage = 0; stage < static_cast<int>(settings_.ranges.size()); ++stage)
    if (is_local(stage)) build_chunk(stage);
  find_tied_uses();
  if (settings_.training) norm_order_ = make_norm_order();
  // The first rank is where the tree of norms ends, and it reports steps.
  if (settings_.training && settings_.rank == 0 && optimizers_->listed() > 0)
    group_norms_.emplace(settings_.model, *optimizers_);
  settings_.checkpoint = nullptr;  // read once
  for (const std::string& name : settings_.hooks) hooks_.push_back(step_hooks().find(name)());
  for (const auto& chunk : chunks_) states_.push_back(chunk->state.get());
  if (settings_.ranks) ranks_ = std::make_unique<RankAllocator>(*settings_.ranks, settings_.model);
}

// Background operations hold tensors of the account.
ModelWorker::~ModelWorker() {
  for (const auto& queue : {settings_.groups.data_queue, settings_.groups.context_queue})
    if (queue) queue->abort("the rank has ended");
}

ModelShard ModelWorker::shard() const {
  return {place_.tensor, settings_.grid.tensor, settings_.sequence_parallel, place_.context,
          settings_.grid.context};
}

DataSharding sharding_of(const ModelWorkerSettings& settings, const GridPlace& place) {
  if (!settings.training) return {};
  return {settings.grid.data_rank(place), settings.grid.data_ranks(), settings.zero_stage,
          settings.bucket_elements};
}

void ModelWorker::build_chunk(int stage) {
  auto chunk = std::make_unique<Chunk>();
  chunk->stage = stage;
  chunk->model = make_stage_model(settings_.model, settings_.ranges[static_cast<size_t>(stage)], *operations_,
                                  shard(), settings_.activations, make_adapted_linear);

  const RankGroups& groups = settings_.groups;
  const DataSharding data = sharding_of(settings_, place_);
  ShardedState::Groups shared{data.size > 1 ? groups.data_queue.get() : nullptr,
                              {groups.tensor.get(), groups.key_value.get()}};
  for (int rank = 0; groups.tensor && rank < groups.tensor->size(); ++rank) {
    ModelShard of_rank = shard();
    of_rank.tensor_rank = rank;
    shared.parameters.push_back(stage_parameters(settings_.model, chunk->model->range(), of_rank));
  }
  chunk->state =
      std::make_unique<ShardedState>(*chunk->model, data, *operations_, optimizers_.get(),
                                     settings_.precision, settings_.offload_optimizer, std::move(shared));
  if (failpoint("stage.load") && settings_.groups.tensor) settings_.groups.tensor->barrier();
  load_weights(settings_, *chunk->model, *operations_, *chunk->state);
  chunks_.push_back(std::move(chunk));
}

NormOrder ModelWorker::make_norm_order() const {
  NormNodes nodes(settings_);
  int64_t held = has_loss() ? 1 : 0;
  for (const auto& chunk : chunks_) held += chunk->state->norm_values();
  const size_t expected = nodes.of_rank(settings_.rank).size();
  COLLIE_ASSERT(static_cast<int64_t>(expected) == held,
                "rank {} contributes {} values to norms, the others expect {}", settings_.rank, held,
                expected);
  return nodes.order_of(settings_.rank, ReductionTree(settings_.grid));
}

// All ranks of a tensor group compute the same loss; the first of them has it.
bool ModelWorker::has_loss() const {
  return place_.tensor == 0 && std::any_of(chunks_.begin(), chunks_.end(),
                                           [](const auto& chunk) { return chunk->model->range().head; });
}

void ModelWorker::find_tied_uses() {
  if (!settings_.model.architecture.tie_word_embeddings || !settings_.training) return;
  for (const auto& chunk : chunks_)
    for (ParameterId id = 0; id < static_cast<int>(chunk->model->parameters().size()); ++id) {
      const Parameter& parameter = chunk->model->parameters()[static_cast<size_t>(id)];
      if (!parameter.trainable) continue;  // both uses keep what they have
      if (parameter.tied_copy) tied_copy_ = {chunk.get(), chunk->state->plan().bucket_of(id)};
      if (chunk->model->range().embedding && id == 0)
        tied_owner_ = {chunk.get(), chunk->state->plan().bucket_of(id)};
    }
}

// --- programs

bool ModelWorker::is_local(int stage) const {
  return settings_.rank_of_stage[static_cast<size_t>(stage)] == place_.pipeline;
}

ModelWorker::Chunk& ModelWorker::chunk_of(int stage) {
  const auto found =
      std::find_if(chunks_.begin(), chunks_.end(), [&](const auto& c) { return c->stage == stage; });
  COLLIE_ASSERT(found != chunks_.end(), "rank {} does not hold stage {}", settings_.rank, stage);
  return **found;
}

LayerContext ModelWorker::context(Chunk& chunk, bool training) {
  LayerContext context{*operations_, chunk.state->weights(), training ? &chunk.state->gradients() : nullptr,
                       settings_.groups.tensor.get(), settings_.groups.context_queue.get()};
  if (training && settings_.model.drops()) context.dropout = DropoutDraw{settings_.seed, batch_->step};
  if (training && program_.kind.labels == Labels::sampled)
    context.labels = LabelDraw{settings_.seed, batch_->step};
  return context;
}

// What a step's gradients have once is in those of the first micro-batch of the first of the ranks that hold
// the same weights. An estimate is of the tokens' loss alone.
LayerContext ModelWorker::backward_context(Chunk& chunk, int micro_batch) {
  LayerContext layer_context = context(chunk, true);
  layer_context.regularises = micro_batch == 0 && settings_.grid.data_rank(place_) == 0 &&
                              program_.kind.gradients != GradientUse::estimate;
  return layer_context;
}

const MicroBatch& ModelWorker::micro_batch(int index) const {
  return batch_->micro_batches.at(static_cast<size_t>(index));
}

// This replica's batch, with the model's virtual tokens, of which loaders and who else asks for programs know
// nothing. In decoding, a sequence that has a capacity begins.
std::shared_ptr<const StepBatch> ModelWorker::batch_of(const Program& program) const {
  if (program.batches.empty()) return nullptr;
  const std::shared_ptr<const StepBatch>& batch = program.batches.at(static_cast<size_t>(place_.data));
  if (!batch || !settings_.model.prompt.exists()) return batch;
  std::vector<bool> begins;
  if (program.kind.pass == Pass::decode)
    for (const Decoding::Sequence& sequence : program.decoding.next) begins.push_back(sequence.capacity > 0);
  auto all = std::make_shared<StepBatch>(*batch);
  for (MicroBatch& each : all->micro_batches)
    each = with_prompt(each, settings_.model.prompt, settings_.model.architecture.vocab_size, begins);
  return all;
}

void ModelWorker::begin(const Program& program) {
  COLLIE_ASSERT(
      stashes_.empty() && inputs_.empty() && outputs_.empty() && d_outputs_.empty() && d_inputs_.empty(),
      "rank {} begins program {} with tensors of the one before", settings_.rank, program.id);
  program_ = program;
  program_.decoding = share_of(program.decoding, place_.data, settings_.grid.data);
  batch_ = batch_of(program_);
  averages_are_due_ = optimizers_ && optimizers_->has_averages() &&
                      (program.kind.pass == Pass::loss || program.kind.pass == Pass::decode);
  has_computed_ = hooks_.empty() && !averages_are_due_;
  loss_sums_ = {};
  for (const auto& chunk : chunks_) {
    if (chunk->model->range().head && batch_) make_loss_sums();
    if (program.kind.pass == Pass::train) start_step(*chunk);
    if (program.kind.pass == Pass::decode) prepare_caches(*chunk);
    if (program.kind.epilogue == Epilogue::release) chunk->caches.erase(program.request.requester);
  }
}

void ModelWorker::start_step(Chunk& chunk) {
  const auto micro_batches = static_cast<int>(batch_->micro_batches.size());
  const GradientUse use = program_.kind.gradients;
  // A norm alone needs no gradient for longer than a fused update does.
  const bool passes_on = use == GradientUse::fused || use == GradientUse::clip ||
                         (use == GradientUse::norm_only && optimizers_->fuses());
  if (!passes_on) return chunk.state->start_step(micro_batches);
  FusedStep step;
  step.updates = use == GradientUse::fused;
  step.lr_factor = program_.lr_factor;
  step.arguments.step = program_.update;
  if (program_.clip_norm > 0)
    step.arguments.gradient_factor =
        one_double(*operations_, clip_factor(program_.clip_norm, settings_.clip_grad_norm));
  step.memory = memory_of_program();
  step.clip_grad_value = settings_.clip_grad_value;
  if (chunk.model->range().head) step.losses = loss_sums_;
  for (const TiedUse& tied : {tied_owner_, tied_copy_})
    if (tied.chunk == &chunk) step.later.push_back(tied.bucket);
  chunk.state->start_fused_step(micro_batches, std::move(step));
}

std::vector<UpdateMemory> ModelWorker::memory_of_program() const {
  std::vector<UpdateMemory> memory;
  for (const auto& of_group : program_.memory) memory.emplace_back(of_group.begin(), of_group.end());
  return memory;
}

void ModelWorker::call_hooks(void (StepHook::*event)(const HookContext&)) {
  const HookContext context{*operations_, states_, program_.step, changes_weights(program_.kind), !given_up_};
  for (const auto& hook : hooks_) (hook.get()->*event)(context);
}

// Before the program's first task that computes.
void ModelWorker::begin_computing() {
  has_computed_ = true;
  if (changes_weights(program_.kind)) call_hooks(&StepHook::before_step);
  use_averages();
  if (program_.kind.pass != Pass::loss) return;
  is_evaluating_ = true;
  call_hooks(&StepHook::before_evaluation);
}

void ModelWorker::end() {
  if (is_evaluating_) call_hooks(&StepHook::after_evaluation);
  is_evaluating_ = false;  // if a hook has thrown, it is called again when the program is given up
  use_trained();
}

// Before the program's first task, if it is due: hooks find the weights that are evaluated.
void ModelWorker::use_averages() {
  if (!std::exchange(averages_are_due_, false)) return;
  for (const auto& chunk : chunks_) chunk->state->use_averages();
  if (has_two_tied_uses()) use_tied_average(tied_owner_.weight());
}

void ModelWorker::use_tied_average(const Tensor& weight) {
  tied_copy_.chunk->state->weights().wait();
  trained_copy_ = copy_of(tied_copy_.weight(), Category::optimizer);
  copy_tied_weight(weight);
}

// Does nothing where the weights are those that are trained.
void ModelWorker::use_trained() {
  averages_are_due_ = false;
  for (const auto& chunk : chunks_) chunk->state->use_trained(!given_up_);
  if (trained_copy_.defined()) copy_tied_weight(trained_copy_, !given_up_);
  trained_copy_ = {};
}

// Whether this rank has both in storages of their own. The copy then follows its owner.
bool ModelWorker::has_two_tied_uses() const {
  return tied_owner_ && tied_copy_ && !tied_owner_.weight().begins_with(tied_copy_.weight());
}

void ModelWorker::prepare_caches(Chunk& chunk) {
  KeyValueCache& cache = chunk.caches[program_.request.requester];
  for (const int64_t ended : program_.decoding.ended) cache.end(ended);
  if (program_.decoding.afresh) cache = KeyValueCache();
  for (const Decoding::Sequence& sequence : program_.decoding.next)
    if (sequence.capacity > 0)
      chunk.model->start_sequence(*operations_, cache, sequence.number,
                                  settings_.model.prompt.in_document() + sequence.capacity);
}

void ModelWorker::make_loss_sums() {
  documents_.clear();
  first_document_ = {0};
  for (size_t i = 0; program_.per_document && i < batch_->micro_batches.size(); ++i) {
    for (const DocumentPiece& piece : documents_of(batch_->micro_batches[i], shard()))
      documents_.push_back(piece);
    first_document_.push_back(static_cast<int64_t>(documents_.size()));
  }
  const size_t sums =
      program_.per_document ? std::max<size_t>(documents_.size(), 1) : batch_->micro_batches.size();
  loss_sums_ = operations_->empty({static_cast<int64_t>(sums)}, DType::f64, Category::workspace);
  operations_->fill(loss_sums_, 0);
}

Tensor ModelWorker::loss_sums_of(int index) const {
  if (!program_.per_document) return loss_sums_.rows(index, index + 1);
  const auto at = static_cast<size_t>(index);
  return loss_sums_.rows(first_document_[at], first_document_[at + 1]);
}

void ModelWorker::compute(const Task& task) {
  if (!has_computed_) begin_computing();
  if (task.kind == TaskKind::reduce_gradients) return reduce_gradients();
  if (task.kind == TaskKind::add_tied_gradient) return add_tied_gradient();
  if (task.kind == TaskKind::sum_squares) return sum_squares();
  // Keys work that repeats: a stage's forward, or its backward, in programs of one pass.
  const int64_t repeats =
      (static_cast<int64_t>(program_.kind.pass) << 8 | static_cast<int64_t>(task.action.kind)) << 32 |
      task.action.stage;
  queue_as_graphs(repeats, [&] { compute_micro_batch(task.action); });
}

void ModelWorker::queue_as_graphs(int64_t task, const std::function<void()>& work) {
  // Every token of a generation, and every document, has different shapes. Sampled labels are read back.
  const bool repeats =
      program_.kind.pass != Pass::decode && !program_.per_document && program_.kind.labels == Labels::given;
  if (!settings_.graphs || !repeats) return work();
  operations_->as_graphs(task, work);
}

void ModelWorker::compute_micro_batch(const schedule::Action& action) {
  Chunk& chunk = chunk_of(action.stage);
  const int index = action.micro_batch;
  switch (action.kind) {
    case ActionKind::forward:
      return forward(chunk, index);
    case ActionKind::backward:
      return backward(chunk, index);
    case ActionKind::backward_input:
      return backward_input(chunk, index);
    case ActionKind::backward_weight:
      return backward_weight(chunk, index);
    default:
      COLLIE_ASSERT(false, "stage {}, micro-batch {}: not an action that is computed", action.stage, index);
  }
}

void ModelWorker::forward(Chunk& chunk, int index) {
  failpoint("stage.forward");
  const Key key{chunk.stage, index};
  Tensor input;
  if (!chunk.model->range().embedding) input = std::move(inputs_.extract(key).mapped());
  Tensor loss_sum = chunk.model->range().head ? loss_sums_of(index) : Tensor();
  Tensor output;
  if (program_.kind.pass == Pass::train) {
    const auto limit = program_.activation_limits[static_cast<size_t>(chunk.stage)];
    chunk.peak_live = std::max(chunk.peak_live, ++chunk.live);
    COLLIE_ASSERT(chunk.live <= limit,
                  "stage {} holds the activations of {} micro-batches, the schedule allows {}", chunk.stage,
                  chunk.live, limit);
    const int64_t targets = batch_->global_target_tokens;
    LayerContext layer_context = context(chunk, true);
    output = chunk.model->forward(layer_context, micro_batch(index), input,
                                  targets > 0 ? 1.0 / static_cast<double>(targets) : 0.0, *loss_, loss_sum,
                                  stashes_[key]);
    if (chunk.stage < settings_.first_trained_stage) drop_stash(chunk, index);
  } else if (program_.kind.pass == Pass::loss) {
    failpoint("stage.evaluate");
    LayerContext layer_context = context(chunk, false);
    output = chunk.model->evaluate(layer_context, micro_batch(index), input, *loss_, loss_sum);
  } else {
    failpoint("stage.decode");
    LayerContext layer_context = context(chunk, false);
    std::vector<int64_t> sequences;
    for (const Decoding::Sequence& sequence : program_.decoding.next) sequences.push_back(sequence.number);
    output = chunk.model->decode(layer_context, micro_batch(index), input,
                                 chunk.caches.at(program_.request.requester), sequences);
  }
  if (chunk.model->range().head) {
    logits_ = std::move(output);  // defined only in generation
    return;
  }
  outputs_[key] = std::move(output);
  hand_over(outputs_, inputs_, chunk.stage, chunk.stage + 1, index);
}

Tensor ModelWorker::take_d_output(Chunk& chunk, int index) {
  failpoint("stage.backward");
  if (chunk.model->range().head) return {};
  return std::move(d_outputs_.extract({chunk.stage, index}).mapped());
}

void ModelWorker::put_d_input(Chunk& chunk, int index, Tensor d_input) {
  if (chunk.stage <= settings_.first_trained_stage) return;
  if (chunk.model->range().head && program_.kind.gradients == GradientUse::fused) mark_if_not_finite(d_input);
  d_inputs_[{chunk.stage, index}] = std::move(d_input);
  hand_over(d_inputs_, d_outputs_, chunk.stage, chunk.stage - 1, index);
}

// Earlier stages update layers before they know the loss. If it is not finite, their gradients say so.
void ModelWorker::mark_if_not_finite(Tensor& d_input) const {
  Tensor loss_sum = operations_->empty({1}, DType::f64, Category::workspace);
  operations_->ordered_sums(loss_sums_, sum_of_first(loss_sums_.numel()), loss_sum);
  Tensor one = one_double(*operations_, 1);
  operations_->keep_if_finite(one, loss_sum, one);
  operations_->divide_by_root(d_input, one, 0);
}

void ModelWorker::drop_stash(Chunk& chunk, int index) {
  stashes_.erase({chunk.stage, index});
  --chunk.live;
}

void ModelWorker::backward(Chunk& chunk, int index) {
  LayerContext layer_context = backward_context(chunk, index);
  put_d_input(chunk, index,
              chunk.model->backward(layer_context, micro_batch(index), take_d_output(chunk, index),
                                    stashes_.at({chunk.stage, index})));
  drop_stash(chunk, index);
}

void ModelWorker::backward_input(Chunk& chunk, int index) {
  LayerContext layer_context = backward_context(chunk, index);
  put_d_input(chunk, index,
              chunk.model->backward_input(layer_context, micro_batch(index), take_d_output(chunk, index),
                                          stashes_.at({chunk.stage, index})));
}

void ModelWorker::backward_weight(Chunk& chunk, int index) {
  LayerContext layer_context = backward_context(chunk, index);
  chunk.model->backward_weight(layer_context, micro_batch(index), stashes_.at({chunk.stage, index}));
  drop_stash(chunk, index);
}

// Neighbouring stages on one rank need no message.
void ModelWorker::hand_over(std::map<Key, Tensor>& outputs, std::map<Key, Tensor>& inputs, int from_stage,
                            int to_stage, int index) {
  if (!is_local(to_stage)) return;
  inputs[{to_stage, index}] = std::move(outputs.extract({from_stage, index}).mapped());
}

// --- tensors between stages

Tensor ModelWorker::take(const Channel& channel, int index) {
  Tensor tensor = leaving(channel, index);
  operations_->release(tensor);
  return tensor;
}

Tensor ModelWorker::leaving(const Channel& channel, int index) {
  switch (channel.direction) {
    case Direction::forward:
      return std::move(outputs_.extract({channel.from_stage, index}).mapped());
    case Direction::backward:
      return std::move(d_inputs_.extract({channel.from_stage, index}).mapped());
    // These are copies: the next step overwrites the accumulator and the weight while the message may still
    // be read.
    case Direction::tied_gradient:
      return copy_of(tied_copy_.gradient(), Category::communication);
    case Direction::tied_weight:
      use_averages();
      return copy_of(tied_owner_.weight(), Category::communication);
  }
  COLLIE_ASSERT(false, "unknown direction of {}", to_string(channel));
}

void ModelWorker::put(const Channel& channel, int index, Tensor tensor) {
  const bool activation = channel.direction == Direction::forward;
  Tensor own =
      operations_->acquire(std::move(tensor), activation ? Category::activations : Category::communication);
  switch (channel.direction) {
    case Direction::forward:
      inputs_[{channel.to_stage, index}] = std::move(own);
      return;
    case Direction::backward:
      d_outputs_[{channel.to_stage, index}] = std::move(own);
      return;
    case Direction::tied_gradient:
      tied_gradient_ = std::move(own);
      return;
    case Direction::tied_weight:
      use_averages();
      return program_.kind.pass == Pass::train ? copy_tied_weight(own) : use_tied_average(own);
  }
}

Tensor ModelWorker::copy_of(const Tensor& tensor, Category category) {
  Tensor copy = operations_->empty(tensor.shape(), tensor.dtype(), category);
  operations_->copy(tensor, copy);
  return copy;
}

// --- the end of a step

void ModelWorker::reduce_gradients() {
  for (const auto& chunk : chunks_) chunk->state->gradients().finish();
}

// The order is always the embedding's gradient + the head's. Each is summed over micro-batches and ranks
// before, so the sum is the same on one rank and on two.
void ModelWorker::add_tied_gradient() {
  Tensor gradient = tied_owner_.gradient();
  const Tensor head = tied_copy_ ? tied_copy_.gradient() : std::move(tied_gradient_);
  operations_->add(gradient, head, gradient);
  tied_gradient_ = {};
}

void ModelWorker::sum_squares() {
  // A test lets one rank enter a collective alone. The rank waits here until the group is aborted.
  if (failpoint("stage.collective") && settings_.groups.tensor) settings_.groups.tensor->barrier();
  call_hooks(&StepHook::before_norm);
  if (settings_.clip_grad_value > 0 && program_.kind.gradients != GradientUse::estimate)
    for (const auto& chunk : chunks_) chunk->state->clamp_gradients(settings_.clip_grad_value);
  contribution_ = operations_->empty({norm_order_.width()}, DType::f64, Category::workspace);
  operations_->fill(contribution_, 0);
  int64_t at = 0;
  if (has_loss()) {
    Tensor loss_sum = contribution_.rows(0, ++at);
    operations_->ordered_sums(loss_sums_, sum_of_first(loss_sums_.numel()), loss_sum);
  }
  for (const auto& chunk : chunks_) {
    Tensor sums = contribution_.rows(at, at + chunk->state->norm_values());
    chunk->state->sum_squares(sums);
    at += sums.numel();
  }
  loss_sums_ = {};
}

std::vector<ProcessGroup*> ModelWorker::reduction_groups() const {
  std::vector<ProcessGroup*> groups(norm_order_.levels.size(), nullptr);
  const auto& tree = settings_.groups.reduction_tree;
  for (size_t level = 0; level < tree.size(); ++level) groups[level] = tree[level].get();
  return groups;
}

bool ModelWorker::synchronize_step(std::function<void()> on_outcome_ready) {
  const std::vector<ProcessGroup*> groups = reduction_groups();
  // An estimate is of the gradient as it is: the paper clips the gradients of updates alone.
  const bool estimates = program_.kind.gradients == GradientUse::estimate;
  const StepBounds bounds{estimates ? 0 : settings_.clip_grad_norm, program_.most_loss_sum,
                          program_.most_norm};
  synchronized_ =
      reduce_step_outcome(*operations_, norm_order_, contribution_, groups, bounds, &parameter_squares_);
  contribution_ = {};
  outcome_ = operations_->read(synchronized_);
  if (group_norms_) group_squares_ = operations_->read(parameter_squares_);
  if (program_.kind.gradients == GradientUse::norm_only) drop_gradients();
  if (outcome_.there()) return true;
  operations_->when_done(std::move(on_outcome_ready));
  return false;
}

StepOutcome ModelWorker::outcome() {
  const std::vector<double>& values = outcome_.value();
  check_communication();
  StepOutcome outcome{values.at(0), values.at(1)};
  if (!std::isfinite(outcome.gradient_norm)) outcome.first_not_finite = first_not_finite();
  if (group_squares_) outcome.group_norms = group_norms_->of(group_squares_->value());
  group_squares_.reset();
  parameter_squares_ = {};
  return outcome;
}

int ModelWorker::first_not_finite() {
  if (!parameter_squares_.defined()) return -1;
  const std::vector<double> squares = operations_->read(parameter_squares_).value();
  const auto found = std::find_if(squares.begin(), squares.end(), [](double x) { return !std::isfinite(x); });
  return found == squares.end() ? -1 : static_cast<int>(found - squares.begin());
}

void ModelWorker::check() {
  operations_->check_device();
  check_communication();
}

// Values read from a device are invalid if a collective, or the transfer of an expected tensor, has failed.
void ModelWorker::check_communication() const {
  if (given_up_) return;
  const RankGroups& groups = settings_.groups;
  for (const auto& group : {groups.tensor, groups.context, groups.key_value, groups.data})
    if (group) group->check();
  for (const auto& group : groups.reduction_tree)
    if (group) group->check();
  for (const auto* const pipes : {&groups.pipes.to, &groups.pipes.from})
    for (const auto& [rank, pipe] : *pipes) pipe->check();
}

void ModelWorker::update() {
  failpoint("stage.update");
  if (program_.kind.gradients == GradientUse::estimate) return estimate();
  if (program_.kind.gradients == GradientUse::clip) return drop_gradients();
  constexpr int64_t update_task = -1;
  if (ranks_)
    update_and_choose_ranks();  // the host decides, so no two updates need be the same work
  else
    queue_as_graphs(update_task, [&] { update_weights(); });
  synchronized_ = {};
  call_hooks(&StepHook::after_update);
}

void ModelWorker::update_weights() {
  const std::vector<UpdateMemory> memory = memory_of_program();
  for (const auto& chunk : chunks_)
    chunk->state->update(program_.lr_factor, {0, program_.update, synchronized_.rows(2, 3), {}}, memory);
  if (has_two_tied_uses()) copy_tied_weight(tied_owner_.weight());
}

void ModelWorker::update_and_choose_ranks() {
  const Tensor factor = synchronized_.rows(2, 3);
  const std::vector<UpdateMemory> memory = memory_of_program();
  for (ShardedState* const state : states_)
    state->update_own(program_.lr_factor, {0, program_.update, factor, {}}, memory);
  ranks_->step(*operations_, states_, factor, program_.update - 1,
               [this](Tensor& values) { sum_over_stages(values); });
  for (ShardedState* const state : states_) state->finish_update();
  if (has_two_tied_uses()) copy_tied_weight(tied_owner_.weight());
}

// One rank of each pipeline position counts. Up the tree in which steps are synchronised, and down again.
void ModelWorker::sum_over_stages(Tensor& values) {
  if (place_.tensor != 0 || settings_.grid.data_rank(place_) != 0) operations_->fill(values, 0);
  const std::vector<ProcessGroup*> groups = reduction_groups();
  for (ProcessGroup* const group : groups)
    if (group != nullptr) group->all_reduce_sum(values);
  for (size_t level = groups.size() - (norm_order_.top ? 1 : 0); level-- > 0;)
    if (groups[level] != nullptr) groups[level]->broadcast(values, 0);
}

// Of a pass that only measures them.
void ModelWorker::drop_gradients() {
  synchronized_ = {};
  for (const auto& chunk : chunks_) chunk->state->gradients().release();
}

void ModelWorker::estimate() {
  for (const auto& chunk : chunks_)
    chunk->state->estimate(program_.update, {batch_->global_target_tokens, synchronized_.rows(2, 3), {}});
  synchronized_ = {};
}

// If it is `published`, the others of the data group get it.
void ModelWorker::copy_tied_weight(const Tensor& weight, bool published) {
  BucketWeights& weights = tied_copy_.chunk->state->weights();
  if (published) weights.wait();
  Tensor copy = tied_copy_.weight();
  operations_->copy(weight, copy);
  if (published) weights.publish(tied_copy_.bucket);
}

std::vector<NamedValues> ModelWorker::loss_values() {
  Tensor sum = operations_->empty({1}, DType::f64, Category::workspace);
  operations_->ordered_sums(loss_sums_, sum_of_first(loss_sums_.numel()), sum);
  std::vector<NamedValues> values{{loss_sum_name, {operations_->read(sum).value().front()}}};
  if (program_.per_document) append_documents(values);
  loss_sums_ = {};
  check_communication();
  return values;
}

void ModelWorker::append_documents(std::vector<NamedValues>& values) {
  NamedValues numbers{documents_name, {}}, sums{document_loss_sums_name, {}},
      targets{document_targets_name, {}};
  for (const DocumentPiece& piece : documents_) {
    numbers.values.emplace_back(static_cast<double>(piece.number));
    targets.values.emplace_back(static_cast<double>(piece.targets));
  }
  for (const double sum : operations_->read(loss_sums_).value()) sums.values.emplace_back(sum);
  sums.values.resize(documents_.size());  // there is one sum even if there is no document
  for (NamedValues* named : {&numbers, &sums, &targets}) values.push_back(std::move(*named));
}

std::vector<NamedValues> ModelWorker::sample() {
  const std::vector<Decoding::Sequence>& next = program_.decoding.next;
  const auto vocab = static_cast<size_t>(logits_.dim(1));
  std::vector<float> logits(next.size() * vocab);
  operations_->download(logits_, logits);
  check_communication();
  logits_ = {};
  NamedValues tokens{tokens_name, {}}, sequences{sequences_name, {}};
  for (const Decoding::Sequence& sequence : next)
    sequences.values.emplace_back(static_cast<double>(sequence.number));
  for (size_t i = 0; i < next.size(); ++i)
    tokens.values.emplace_back(static_cast<double>(sample_token(
        std::span(logits).subspan(i * vocab, vocab), next[i].sampling, next[i].seen, next[i].index)));
  return {tokens, sequences};
}

std::vector<CheckpointSlice> ModelWorker::snapshot() {
  failpoint("stage.snapshot");
  std::vector<CheckpointSlice> slices;
  for (const auto& chunk : chunks_)
    for (CheckpointSlice& slice : chunk->state->snapshot()) slices.push_back(std::move(slice));
  check_communication();
  return slices;
}

// On several GPUs, giving up would also abort the communication that still belongs to the previous step, and
// that step counts.
bool ModelWorker::gives_up() const {
  return settings_.grid.ranks() == 1 || !settings_.groups.device.compute;
}

// A step does not change the data of a snapshot before its update.
void ModelWorker::give_up() {
  given_up_ = true;
  end();
  for (auto* const tensors : {&inputs_, &outputs_, &d_outputs_, &d_inputs_}) tensors->clear();
  stashes_.clear();
  for (const auto& chunk : chunks_) chunk->live = 0;
  tied_gradient_ = loss_sums_ = logits_ = contribution_ = {};
}

RankSummary ModelWorker::summary() const {
  RankSummary summary;
  const MemoryAccount& account = *operations_->account();
  for (size_t category = 0; category < category_count; ++category)
    summary.peak_bytes.push_back(account.peak(static_cast<Category>(category)));
  summary.peak_total_bytes = account.peak_total();
  summary.current_total_bytes = account.current_total();
  for (const auto& chunk : chunks_) {
    summary.peak_activations.push_back(chunk->peak_live);
    for (const auto& parameter : chunk->model->parameters())
      if (!parameter.tied_copy) summary.weight_elements += parameter.shape.numel();
  }
  const Communicated so_far = communicated();
  summary.communicating_s = so_far.blocked_s;
  summary.sent_bytes = so_far.sent_bytes;
  summary.graphs = operations_->graph_counts();
  return summary;
}

// A queue counts the seconds that its group's operations cost the rank.
Communicated ModelWorker::communicated() const {
  const RankGroups& groups = settings_.groups;
  Communicated sum;
  const auto add = [&](const std::shared_ptr<MeteredGroup>& group, bool spans, bool blocks) {
    if (!group) return;
    const Traffic traffic = group->total();
    if (blocks) sum.blocked_s += traffic.seconds;
    sum.sent_bytes += traffic.bytes;
    if (spans) sum.network_bytes += traffic.bytes;
  };
  add(groups.tensor, groups.spans.tensor, true);
  add(groups.key_value, groups.spans.key_value, true);
  add(groups.data, groups.spans.data, false);
  add(groups.context, groups.spans.context, false);
  for (size_t level = 0; level < groups.reduction_tree.size(); ++level)
    add(groups.reduction_tree[level],
        level < groups.spans.reduction_tree.size() && groups.spans.reduction_tree[level], false);
  for (const auto& queue : {groups.data_queue, groups.context_queue})
    if (queue) sum.blocked_s += queue->blocked_seconds();
  return sum;
}

std::vector<uint64_t> ModelWorker::peak_bytes() const {
  std::vector<uint64_t> bytes;
  for (size_t category = 0; category < category_count; ++category)
    bytes.push_back(operations_->account()->peak(static_cast<Category>(category)));
  return bytes;
}

bool ModelWorker::is_timed() const {
  return !settings_.groups.device.compute;
}

std::vector<TaskSpan> ModelWorker::take_communication_spans() {
  std::vector<TaskSpan> spans;
  for (const auto& queue : {settings_.groups.data_queue, settings_.groups.context_queue}) {
    if (!queue) continue;
    for (OperationSpan& span : queue->take_spans())
      spans.push_back({std::move(span.label), span.start_s, span.end_s});
  }
  return spans;
}

}  // namespace collie
