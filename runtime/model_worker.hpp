// A stage worker that computes with a real model. It holds the weights, gradients, optimizer states and
// activations of its stages.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "io/checkpoint.hpp"
#include "io/config.hpp"
#include "models/stage_model.hpp"
#include "optim/gradient_norm.hpp"
#include "optim/parameter_groups.hpp"
#include "optim/rank_allocation.hpp"
#include "optim/sharded_state.hpp"
#include "peft/adapter_folder.hpp"
#include "runtime/group_norms.hpp"
#include "runtime/operations_factory.hpp"
#include "runtime/rank_groups.hpp"
#include "runtime/stage_worker.hpp"
#include "runtime/step_hook.hpp"

namespace collie {

struct ModelWorkerSettings {
  int rank = 0;
  Grid grid;
  std::vector<StageRange> ranges;  // [stages of the whole model]
  std::vector<int> rank_of_stage;  // [stages] pipeline positions
  int first_trained_stage = 0;     // stages before it have no backward
  ModelSpec model;
  OptimizerConfig optimizer;
  Precision precision;
  bool offload_optimizer = false;
  ActivationMemory activations;
  bool graphs = false;  // on a GPU: queue micro-batches and updates as graphs
  std::string loss = "cross_entropy";
  std::vector<std::string> hooks{};     // names of step_hooks()
  std::optional<RankSchedule> ranks{};  // of a training that chooses the ranks of adapters
  uint64_t seed = 42;
  int threads = 1;
  bool sequence_parallel = false;
  int zero_stage = 0;
  int64_t bucket_elements = DataSharding{}.bucket_elements;
  double clip_grad_norm = 0, clip_grad_value = 0;  // 0: no clipping
  bool training = true;                            // allocate gradients and optimizer states
  std::string weights_folder;                      // Hugging Face folder; empty: random from `seed`
  std::string quantised_folder;                    // the same, where quantised matrices come from
  std::vector<AdapterOrigin> adapters{};           // laid over weights_folder; none: adapters begin anew
  // The weights under the adapters, if they are not just those in weights_folder.
  std::optional<Checkpoint> base{};
  const Checkpoint* checkpoint = nullptr;  // if given, it is read instead of the folder or the seed
  RankGroups groups;                       // their owner aborts them
  OperationsFactory make_operations = cpu_operations(DType::f32);
  std::shared_ptr<MemoryAccount> account = std::make_shared<MemoryAccount>();  // counts the rank's memory
};

// How the data group of `place` shards the training state.
DataSharding sharding_of(const ModelWorkerSettings& settings, const GridPlace& place);

class ModelWorker final : public StageWorker {
 public:
  // Allocates and loads the stages. Throws UserError if the weights do not fit the model.
  explicit ModelWorker(ModelWorkerSettings settings);
  ~ModelWorker() override;

  void begin(const Program& program) override;
  void compute(const Task& task) override;
  Tensor take(const Channel& channel, int micro_batch) override;
  void put(const Channel& channel, int micro_batch, Tensor tensor) override;
  bool synchronize_step(std::function<void()> on_outcome_ready) override;
  StepOutcome outcome() override;
  void check() override;
  void update() override;
  std::vector<NamedValues> loss_values() override;
  std::vector<NamedValues> sample() override;
  std::vector<CheckpointSlice> snapshot() override;
  void end() override;
  RankSummary summary() const override;
  Communicated communicated() const override;
  std::vector<uint64_t> peak_bytes() const override;
  bool is_timed() const override;
  bool gives_up() const override;
  void give_up() override;
  std::vector<TaskSpan> take_communication_spans() override;

 private:
  using Key = std::pair<int, int>;  // (stage, micro-batch)

  // One stage of this rank.
  struct Chunk {
    int stage = 0;
    std::unique_ptr<StageModel> model;
    std::unique_ptr<ShardedState> state;
    std::map<std::string, KeyValueCache> caches;  // by requester
    int live = 0, peak_live = 0;                  // micro-batches whose activations are held
  };

  // One use of a tied matrix. It is empty if that use is on another rank.
  struct TiedUse {
    Chunk* chunk = nullptr;
    int bucket = -1;
    explicit operator bool() const { return chunk != nullptr; }
    Tensor weight() const { return chunk->state->weights().part(bucket); }
    Tensor gradient() const { return chunk->state->gradients().part(bucket); }
  };

  ModelShard shard() const;
  void build_chunk(int stage);
  NormOrder make_norm_order() const;
  bool has_loss() const;
  void find_tied_uses();

  Chunk& chunk_of(int stage);
  LayerContext context(Chunk& chunk, bool training);
  LayerContext backward_context(Chunk& chunk, int micro_batch);
  const MicroBatch& micro_batch(int index) const;
  std::shared_ptr<const StepBatch> batch_of(const Program& program) const;
  void call_hooks(void (StepHook::*event)(const HookContext&));
  void begin_computing();
  void use_averages();
  bool has_two_tied_uses() const;
  void use_trained();
  void use_tied_average(const Tensor& weight);
  void prepare_caches(Chunk& chunk);
  void make_loss_sums();
  Tensor loss_sums_of(int index) const;
  void compute_micro_batch(const schedule::Action& action);
  void queue_as_graphs(int64_t task, const std::function<void()>& work);
  void forward(Chunk& chunk, int index);
  Tensor take_d_output(Chunk& chunk, int index);
  void put_d_input(Chunk& chunk, int index, Tensor d_input);
  void drop_stash(Chunk& chunk, int index);
  void backward(Chunk& chunk, int index);
  void backward_input(Chunk& chunk, int index);
  void backward_weight(Chunk& chunk, int index);
  void reduce_gradients();
  void add_tied_gradient();
  void sum_squares();
  void estimate();
  void drop_gradients();
  void start_step(Chunk& chunk);
  std::vector<UpdateMemory> memory_of_program() const;
  void update_weights();
  void update_and_choose_ranks();
  void sum_over_stages(Tensor& values);
  std::vector<ProcessGroup*> reduction_groups() const;
  int first_not_finite();
  void mark_if_not_finite(Tensor& d_input) const;
  void copy_tied_weight(const Tensor& weight, bool published = true);
  void hand_over(std::map<Key, Tensor>& outputs, std::map<Key, Tensor>& inputs, int from_stage, int to_stage,
                 int index);
  Tensor leaving(const Channel& channel, int index);
  bool is_local(int stage) const;
  Tensor copy_of(const Tensor& tensor, Category category);
  void append_documents(std::vector<NamedValues>& values);
  void check_communication() const;

  ModelWorkerSettings settings_;
  GridPlace place_;
  std::unique_ptr<Operations> operations_;
  std::unique_ptr<ParameterGroups> optimizers_;  // set if the worker trains
  std::unique_ptr<RankAllocator> ranks_;         // set if it chooses the ranks of adapters
  std::unique_ptr<Loss> loss_;
  std::vector<std::unique_ptr<Chunk>> chunks_;
  TiedUse tied_owner_, tied_copy_;
  Tensor tied_gradient_;  // received from the head's rank

  std::vector<std::unique_ptr<StepHook>> hooks_;
  std::vector<ShardedState*> states_;  // of the chunks, for the hooks
  bool has_computed_ = true;           // or there is no hook that asks
  bool is_evaluating_ = false;         // between the two hooks around an evaluation
  bool averages_are_due_ = false;      // the program evaluates other weights than those that are trained
  Tensor trained_copy_;                // what is trained of the tied copy while it has its owner's average

  bool given_up_ = false;  // a program was given up; its communication may have been aborted
  Program program_;
  std::shared_ptr<const StepBatch> batch_;      // the batch of this replica
  std::map<Key, Tensor> inputs_, outputs_;      // activations that arrived; activations that leave
  std::map<Key, Tensor> d_outputs_, d_inputs_;  // gradients that arrived; gradients that leave
  std::map<Key, ActivationStash> stashes_;
  // f64 [micro-batches], if this rank has the head; with Program::per_document f64 [documents_], at least 1.
  Tensor loss_sums_;
  std::vector<DocumentPiece> documents_;  // of all micro-batches, with Program::per_document
  std::vector<int64_t> first_document_;   // [micro-batches + 1]
  Tensor logits_;                         // [sequences, vocab] of the last decoded tokens

  NormOrder norm_order_;                   // set if the worker trains
  Tensor contribution_;                    // f64 [norm_order_.width()]: this rank's part of the step
  Tensor synchronized_;                    // f64 [3]: Operations::step_outcome()
  Tensor parameter_squares_;               // f64 [parameters], where the tree of norms ends
  std::optional<GroupNorms> group_norms_;  // set on the rank that reports steps, if there are groups
  std::optional<Deferred<std::vector<double>>> group_squares_;  // copies parameter_squares_ for these
  Deferred<std::vector<double>> outcome_;                       // copies synchronized_ to the host
};

}  // namespace collie
