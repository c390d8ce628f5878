// A model cut among ranks, one thread each, against the whole model in one thread.
#pragma once

#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "comm/collective_queue.hpp"
#include "comm/process_group.hpp"
#include "models/pieces.hpp"
#include "models/quantised_weights.hpp"
#include "tests/models/support.hpp"

namespace collie::test {

// Counts the calls that go through it.
class CountingGroup final : public ProcessGroup {
 public:
  explicit CountingGroup(std::shared_ptr<ProcessGroup> group) : group_(std::move(group)) {}
  int rank() const override { return group_->rank(); }
  int size() const override { return group_->size(); }
  void all_reduce_sum(Tensor& x) override { count("all_reduce"), group_->all_reduce_sum(x); }
  void reduce_scatter_sum(const Tensor& in, Tensor& out) override {
    count("reduce_scatter"), group_->reduce_scatter_sum(in, out);
  }
  void all_gather(const Tensor& in, Tensor& out) override {
    count("all_gather"), group_->all_gather(in, out);
  }
  void broadcast(Tensor& x, int root) override { count("broadcast"), group_->broadcast(x, root); }
  void all_to_all(const Tensor& in, Tensor& out) override {
    count("all_to_all"), group_->all_to_all(in, out);
  }
  void send(const Tensor& x, int destination) override { count("send"), group_->send(x, destination); }
  void receive(Tensor& x, int source) override { count("receive"), group_->receive(x, source); }
  void barrier() override { count("barrier"), group_->barrier(); }
  void check() override { group_->check(); }
  void abort(const std::string& cause) override { group_->abort(cause); }

  // Since the last call.
  std::map<std::string, int> take() { return std::exchange(counts_, {}); }

 private:
  void count(const char* what) { ++counts_[what]; }

  std::shared_ptr<ProcessGroup> group_;
  std::map<std::string, int> counts_;
};

struct GridLayout {
  int tensor = 1;
  bool sequence = false;
  int context = 1;
  std::string device = "reference";
};

// A contiguous tensor's elements. Makes no assertion: Catch takes those of one thread only.
inline std::vector<double> numbers(Operations& operations, const Tensor& x) {
  if (x.dtype() == DType::f64) return {x.data<double>(), x.data<double>() + x.numel()};
  const std::vector<float> all = values(operations, x);
  return {all.begin(), all.end()};
}

// Where the parameter's elements are in the whole tensor, in the parameter's order. All are of one tensor.
inline std::vector<size_t> places(const Parameter& parameter) {
  std::vector<size_t> all(static_cast<size_t>(parameter.shape.numel()));
  for_each_run(parameter, 0, parameter.shape.numel(), [&](const TensorRun& run) {
    for (int64_t i = 0; i < run.count; ++i)
      all[static_cast<size_t>(run.held + i * run.stride)] = static_cast<size_t>(run.first + i);
  });
  return all;
}

// One rank: its stages, with random weights that are those of the whole model, and its gradients.
struct Rank {
  struct Stage {
    std::unique_ptr<StageModel> model;
    std::vector<Tensor> weights, gradients;
    std::unique_ptr<ParameterSource> source;
    std::unique_ptr<AccumulatingSink> sink;
  };

  Rank(const std::string& device, const ModelSpec& config, const std::vector<StageRange>& ranges,
       const ModelShard& the_shard, const LinearFactory& linears = make_dense_linear,
       const ActivationMemory& memory = {})
      : shard(the_shard),
        drops(config.drops()),
        account(std::make_shared<MemoryAccount>()),
        operations(device == "reference" ? make_reference_operations(account)
                                         : make_cpu_operations(1, account)),
        loss(losses().find("cross_entropy")()) {
    for (const StageRange& range : ranges) {
      Stage stage;
      stage.model = make_stage_model(config, range, *operations, shard, memory, linears);
      std::map<ParameterId, QuantisedMatrix> codes;
      for (const Parameter& parameter : stage.model->parameters()) {
        if (parameter.quantisation.is_there())
          codes[static_cast<ParameterId>(stage.weights.size())] = quantised(parameter);
        stage.weights.push_back(parameter.quantisation.is_there() ? Tensor() : weight(parameter));
      }
      stage.gradients = like(*operations, stage.model->parameters(), NAN);
      stage.source = std::make_unique<ResidentSource>(stage.weights, std::move(codes));
      stage.sink = std::make_unique<AccumulatingSink>(stage.gradients);
      stages.push_back(std::move(stage));
    }
  }

  // Values that depend on the name and the place in the whole tensor alone.
  Tensor weight(const Parameter& parameter) {
    const bool norm = parameter.initialisation == Initialisation::ones;
    const RandomStream stream(random_key(1, parameter.name));
    std::vector<float> all;
    for (const size_t place : places(parameter))
      all.push_back(static_cast<float>((norm ? 1.0 : 0.0) + (norm ? 0.2 : 0.3) * stream.normal(place)));
    Tensor held = operations->empty(parameter.shape, Category::weights);
    operations->upload(all, held);
    return held;
  }

  // The codes of the same values.
  QuantisedMatrix quantised(const Parameter& parameter) {
    const HeldPart part = held_part(parameter);
    const bool transposed = pieces_of(parameter).front().transposed;
    const RandomStream stream(random_key(1, parameter.name));
    const auto value = [&](int64_t at) {
      const int64_t row = at / part.whole_columns, column = at % part.whole_columns;
      return static_cast<float>(
          0.3 * stream.normal(static_cast<uint64_t>(transposed ? column * part.whole_rows + row : at)));
    };
    const WholeQuantised whole = quantise(
        parameter.quantisation, part.whole_rows, part.whole_columns,
        [&](int64_t begin, std::span<float> some) {
          for (size_t i = 0; i < some.size(); ++i) some[i] = value(begin + static_cast<int64_t>(i));
        },
        [](int64_t count, int64_t piece, const auto& f) {
          for (int64_t first = 0; first < count; first += piece) f(first, std::min(count, first + piece));
        });
    QuantisedMatrix matrix = make_quantised_matrix(*operations, parameter.quantisation, part);
    fill_quantised_matrix(*operations, whole, part, matrix);
    return matrix;
  }

  LayerContext context(Stage& stage, bool training) {
    LayerContext context{*operations, *stage.source, training ? stage.sink.get() : nullptr, tensor.get(),
                         ring_queue.get()};
    if (training && drops) context.dropout = DropoutDraw{7, 3};
    context.regularises = shard.context_rank == 0;
    return context;
  }

  double forward(const MicroBatch& batch, double gradient_scale) {
    stashes = std::vector<ActivationStash>(stages.size());
    Tensor x, loss_sum = no_loss(*operations);
    for (size_t i = 0; i < stages.size(); ++i) {
      LayerContext at = context(stages[i], true);
      x = stages[i].model->forward(at, batch, x, gradient_scale, *loss, loss_sum, stashes[i]);
    }
    return operations->read(loss_sum).value().front();
  }
  void backward_input(const MicroBatch& batch) {
    Tensor gradient;
    for (size_t i = stages.size(); i-- > 0;) {
      LayerContext at = context(stages[i], true);
      gradient = stages[i].model->backward_input(at, batch, gradient, stashes[i]);
    }
  }
  void backward_weight(const MicroBatch& batch) {
    for (size_t i = stages.size(); i-- > 0;) {
      LayerContext at = context(stages[i], true);
      stages[i].model->backward_weight(at, batch, stashes[i]);
    }
  }
  void backward(const MicroBatch& batch) {
    Tensor gradient;
    for (size_t i = stages.size(); i-- > 0;) {
      LayerContext at = context(stages[i], true);
      gradient = stages[i].model->backward(at, batch, gradient, stashes[i]);
    }
  }
  double micro_batch(const MicroBatch& batch, double gradient_scale) {
    const double sum = forward(batch, gradient_scale);
    backward(batch);
    return sum;
  }
  double evaluate(const MicroBatch& batch) {
    Tensor x, loss_sum = no_loss(*operations);
    for (Stage& stage : stages) {
      LayerContext at = context(stage, false);
      x = stage.model->evaluate(at, batch, x, *loss, loss_sum);
    }
    return operations->read(loss_sum).value().front();
  }
  // The logits after each piece of a sequence, `sizes` tokens at a time.
  std::vector<double> decode(const MicroBatch& all, const std::vector<int>& sizes) {
    return decode_together(all, {sizes}).front();
  }
  // The documents of `all` as sequences, together: call k appends sizes[s][k] tokens to sequence s, if there
  // are so many sizes of it. Returns each sequence's logits after each of its pieces.
  std::vector<std::vector<double>> decode_together(const MicroBatch& all,
                                                   const std::vector<std::vector<int>>& sizes) {
    std::vector<KeyValueCache> caches(stages.size());
    for (size_t i = 0; i < stages.size(); ++i)
      for (size_t s = 0; s < sizes.size(); ++s)
        stages[i].model->start_sequence(*operations, caches[i], static_cast<int64_t>(s),
                                        all.document_starts[s + 1] - all.document_starts[s]);
    std::vector<std::vector<double>> logits(sizes.size());
    std::vector<int> begin(all.document_starts.begin(), all.document_starts.end() - 1);
    for (size_t call = 0;; ++call) {
      MicroBatch piece = empty_micro_batch();
      std::vector<int64_t> sequences;
      for (size_t s = 0; s < sizes.size(); ++s) {
        if (call >= sizes[s].size()) {
          if (call == sizes[s].size())
            for (KeyValueCache& cache : caches) cache.end(static_cast<int64_t>(s));
          continue;
        }
        const int from = begin[s], to = begin[s] += sizes[s][call];
        piece.tokens.insert(piece.tokens.end(), all.tokens.begin() + from, all.tokens.begin() + to);
        piece.positions.insert(piece.positions.end(), all.positions.begin() + from,
                               all.positions.begin() + to);
        piece.document_starts.push_back(static_cast<int32_t>(piece.tokens.size()));
        sequences.push_back(static_cast<int64_t>(s));
      }
      if (sequences.empty()) return logits;
      Tensor x;
      for (size_t i = 0; i < stages.size(); ++i) {
        LayerContext at = context(stages[i], false);
        x = stages[i].model->decode(at, piece, x, caches[i], sequences);
      }
      for (size_t row = 0; row < sequences.size(); ++row) {
        const auto at = static_cast<int64_t>(row);
        const std::vector<double> last = numbers(*operations, x.rows(at, at + 1));
        auto& of_sequence = logits[static_cast<size_t>(sequences[row])];
        of_sequence.insert(of_sequence.end(), last.begin(), last.end());
      }
    }
  }

  ModelShard shard;
  bool drops;  // with masks of step 3
  std::shared_ptr<MemoryAccount> account;
  std::unique_ptr<Operations> operations;
  std::unique_ptr<Loss> loss;
  std::shared_ptr<CountingGroup> tensor, ring;  // null where the rank is alone
  std::shared_ptr<CollectiveQueue> ring_queue;  // of `ring`, without a driver
  std::vector<Stage> stages;
  std::vector<ActivationStash> stashes;
};

// All ranks of a layout, context after tensor: rank = context_rank * tensor_size + tensor_rank.
struct Grid {
  Grid(const ModelSpec& config, const std::vector<StageRange>& ranges, const GridLayout& the_layout,
       const LinearFactory& linears = make_dense_linear)
      : layout(the_layout) {
    for (int c = 0; c < layout.context; ++c)
      for (int t = 0; t < layout.tensor; ++t)
        ranks.push_back(std::make_unique<Rank>(
            layout.device, config, ranges, ModelShard{t, layout.tensor, layout.sequence, c, layout.context},
            linears));
    for (int c = 0; c < layout.context && layout.tensor > 1; ++c) {
      const auto group = make_in_process_group(layout.tensor);
      for (int t = 0; t < layout.tensor; ++t)
        at(t, c).tensor = std::make_shared<CountingGroup>(group[static_cast<size_t>(t)]);
    }
    for (int t = 0; t < layout.tensor && layout.context > 1; ++t) {
      const auto group = make_in_process_group(layout.context);
      for (int c = 0; c < layout.context; ++c) {
        Rank& rank = at(t, c);
        rank.ring = std::make_shared<CountingGroup>(group[static_cast<size_t>(c)]);
        rank.ring_queue = std::make_shared<CollectiveQueue>(rank.ring, 2, CollectiveQueue::Undriven{});
      }
    }
  }

  Rank& at(int tensor, int context) { return *ranks[static_cast<size_t>(context * layout.tensor + tensor)]; }

  // work(rank) on a thread of each; the first exception is thrown here, once all have ended.
  void run(const std::function<void(Rank&)>& work) {
    std::vector<std::exception_ptr> failures(ranks.size());
    std::vector<std::thread> threads;
    for (size_t i = 0; i < ranks.size(); ++i)
      threads.emplace_back([&, i] {
        try {
          work(*ranks[i]);
        } catch (...) {
          failures[i] = std::current_exception();
          for (const auto& group : {ranks[i]->tensor, ranks[i]->ring})
            if (group) group->abort("another rank failed");
        }
      });
    for (std::thread& thread : threads) thread.join();
    std::exception_ptr chosen;
    for (const std::exception_ptr& failure : failures) {
      if (!failure) continue;
      try {
        std::rethrow_exception(failure);
      } catch (const Aborted&) {
        if (!chosen) chosen = failure;
      } catch (...) {
        chosen = failure;
        break;
      }
    }
    if (chosen) std::rethrow_exception(chosen);
  }

  // The same for a number: [rank].
  std::vector<double> collect(const std::function<double(Rank&)>& work) {
    std::vector<double> results(ranks.size());
    run([&](Rank& rank) {
      results[static_cast<size_t>(rank.shard.context_rank * layout.tensor + rank.shard.tensor_rank)] =
          work(rank);
    });
    return results;
  }

  // A sum of losses: the ranks of a tensor group have the same, those of a context group their tokens'.
  double sum_of_losses(const std::function<double(Rank&)>& work) {
    const std::vector<double> all = collect(work);
    double sum = 0;
    for (int c = 0; c < layout.context; ++c) {
      const double first = all[static_cast<size_t>(c * layout.tensor)];
      for (int t = 1; t < layout.tensor; ++t) CHECK(all[static_cast<size_t>(c * layout.tensor + t)] == first);
      sum += first;
    }
    return sum;
  }

  // Gradients of whole tensors by name, tied copies added to their owner's: summed as the parameters say.
  std::map<std::string, std::vector<double>> gradients() {
    std::map<std::string, std::vector<double>> all, holders;
    for (const auto& rank : ranks)
      for (Rank::Stage& stage : rank->stages)
        for (size_t i = 0; i < stage.gradients.size(); ++i) {
          const Parameter& parameter = stage.model->parameters()[i];
          const std::vector<size_t> where = places(parameter);
          std::vector<double>& sum = all[parameter.name];
          sum.resize(static_cast<size_t>(pieces_of(parameter).at(0).tensor_shape.numel()));
          std::vector<double>& held = holders[parameter.name + (parameter.tied_copy ? " (copy)" : "")];
          held.resize(sum.size());
          const std::vector<double> own = numbers(*rank->operations, stage.gradients[i]);
          for (size_t k = 0; k < where.size(); ++k) {
            const bool stands = static_cast<int64_t>(k) < parameter.primary_numel();
            if (stands || parameter.gradient_shares != GradientShares::whole) sum[where[k]] += own[k];
            if (stands) held[where[k]] += 1;
          }
        }
    for (const auto& [name, held] : holders) {
      INFO("every element of " << name << " has one first holder in each context rank");
      CHECK(held == std::vector<double>(held.size(), layout.context));
    }
    return all;
  }

  GridLayout layout;
  std::vector<std::unique_ptr<Rank>> ranks;
};

}  // namespace collie::test
