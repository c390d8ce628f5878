// Rules that see whole matrices: against tests/golden/make_matrix_rules_golden.py, and however ranks cut
// them.
#include <cmath>
#include <fstream>
#include <map>
#include <set>
#include <thread>

#include "comm/metered_group.hpp"
#include "optim/optimizer.hpp"
#include "tests/catch.hpp"
#include "tests/models/support.hpp"
#include "tests/optim/rule_options.hpp"

using namespace collie;
using namespace collie::test;
using nlohmann::json;

namespace {

// As the golden's script has them.
std::vector<float> values_of(int64_t count, double phase, bool uneven) {
  std::vector<float> values;
  for (int64_t i = 0; i < count; ++i) {
    const double x = std::sin(0.7 * static_cast<double>(i) + 1.3 * phase + 0.1);
    values.push_back(static_cast<float>(uneven ? std::ldexp(x, static_cast<int>(i * 5 % 9) - 4) : x));
  }
  return values;
}

std::vector<float> weights_of(const std::string& name, int64_t count) {
  std::vector<float> values = values_of(count, static_cast<double>(name.size()), false);
  for (float& value : values) value = static_cast<float>(0.1 * static_cast<double>(value));
  return values;
}

std::vector<float> gradients_of(const std::string& name, int64_t count, int64_t step) {
  return values_of(count, static_cast<double>(step + 17 * static_cast<int64_t>(name.size())), true);
}

double rate_of(int64_t step, int64_t steps, double highest) {
  return highest * (0.2 + 0.8 * static_cast<double>(step) / static_cast<double>(steps));
}

// One tensor on one rank: rectangles of it, with states.
struct Held {
  struct Part {
    int64_t row, column, rows, columns;  // in the tensor
    bool transposed = false, counts = true;
  };

  NamedTensor tensor;
  std::vector<MatrixRange> ranges;
  std::vector<Part> parts;
  std::vector<Tensor> line_states;
  std::vector<StateDeclaration> declared;

  int64_t columns() const { return tensor.shape[-1]; }

  Held(Operations& operations, const Optimizer& optimizer, std::string of, const Shape& whole,
       std::vector<Part> held)
      : tensor{of, whole, of == "table", !held.empty() && held.front().transposed},
        parts(std::move(held)),
        declared(optimizer.states(tensor)) {
    const auto state = [&](const Shape& of_state, double initial) {
      Tensor x = operations.empty(of_state, operations.accumulation_dtype(), Category::optimizer);
      operations.fill(x, initial);
      return x;
    };
    for (const StateDeclaration& each : declared)
      if (each.shape != StateShape::elements)
        line_states.push_back(state(state_shape(each, tensor), each.initial));
    const std::vector<float> weights = weights_of(tensor.name, whole.numel());
    for (const Part& part : parts) {
      const Shape tile = part.transposed ? Shape{part.columns, part.rows} : Shape{part.rows, part.columns};
      MatrixRange& range = ranges.emplace_back();
      range.weight = operations.empty(tile, Category::weights);
      range.gradient = operations.empty(tile, Category::gradients);
      for (const StateDeclaration& each : declared)
        if (each.shape == StateShape::elements) range.states.push_back(state(tile, each.initial));
      range.row = part.row;
      range.column = part.column;
      range.transposed = part.transposed;
      range.counts = part.counts;
      operations.upload(cut(weights, part), range.weight);
    }
  }

  std::vector<float> cut(const std::vector<float>& whole, const Part& part) const {
    std::vector<float> values(static_cast<size_t>(part.rows * part.columns));
    for_elements(part, [&](int64_t at, int64_t in_tensor) {
      values[static_cast<size_t>(at)] = whole[static_cast<size_t>(in_tensor)];
    });
    return values;
  }

  template <class F>
  void for_elements(const Part& part, F&& f) const {
    for (int64_t i = 0; i < part.rows; ++i)
      for (int64_t j = 0; j < part.columns; ++j)
        f(part.transposed ? j * part.rows + i : i * part.columns + j,
          (part.row + i) * columns() + part.column + j);
  }

  MatrixShare share(Operations& operations, int64_t step) {
    const std::vector<float> gradients = gradients_of(tensor.name, tensor.shape.numel(), step);
    for (size_t i = 0; i < parts.size(); ++i) operations.upload(cut(gradients, parts[i]), ranges[i].gradient);
    return {tensor, ranges, line_states, [this](int, int) { return counted(parts); }};
  }

  // Where those that count stand.
  static std::vector<MatrixPart> counted(const std::vector<Part>& parts) {
    std::vector<MatrixPart> all;
    for (const Part& part : parts)
      if (part.counts)
        all.push_back({part.transposed ? Shape{part.columns, part.rows} : Shape{part.rows, part.columns},
                       part.row, part.column, part.transposed});
    return all;
  }

  // Puts the parts of what `of` gives of each range where they stand in the whole tensor.
  void collect(Operations& operations, const std::function<Tensor(const MatrixRange&)>& of,
               std::vector<float>& whole) const {
    for (size_t i = 0; i < parts.size(); ++i) {
      std::vector<float> values(static_cast<size_t>(ranges[i].weight.numel()));
      operations.download(of(ranges[i]), values);
      for_elements(parts[i], [&](int64_t at, int64_t in_tensor) {
        whole[static_cast<size_t>(in_tensor)] = values[static_cast<size_t>(at)];
      });
    }
  }
};

Held::Part whole_of(const Shape& shape) {
  return {0, 0, shape.rank() == 1 ? 1 : shape[0], shape[-1]};
}

Tensor weight_of(const MatrixRange& range) {
  return range.weight;
}

}  // namespace

std::vector<std::string> rules_of_matrices() {
  std::vector<std::string> names;
  for (const FactoredRule& rule : factored_rules()) names.push_back(rule.name);
  for (const OrthogonalRule& rule : orthogonal_rules()) names.push_back(rule.name);
  return names;
}

TEST_CASE("every rule that takes matrices follows its paper over 50 steps", "[golden]") {
  const std::string device = GENERATE(from_range(all_devices));
  const json all =
      json::parse(std::ifstream(std::string(COLLIE_SOURCE_DIR) + "/tests/golden/matrix_rules.json"));
  const auto tolerance_of = [&](const std::string& rule) {
    if (rule == "muon") return device == "reference" ? 1e-6 : 1e-4;  // Newton-Schulz amplifies rounding
    return device == "reference" ? 1e-7 : 1e-6;                      // float rounds to 6e-8
  };
  const auto steps = all.at("steps").get<int64_t>();
  std::set<std::string> tested;
  for (const json& each : all.at("cases")) {
    const auto rule = each.at("rule").get<std::string>();
    tested.insert(rule);
    const auto owner = make_operations(device);
    Operations& operations = *owner.operations;
    const auto optimizer = make_optimizer(rule, options_of_rule(rule, each.at("options")));
    std::vector<Held> held;
    for (const auto& [name, dims] : all.at("shapes").items()) {
      const Shape shape = Shape::from(dims.get<std::vector<int64_t>>());
      held.emplace_back(operations, *optimizer, name, shape, std::vector{whole_of(shape)});
    }
    const auto check = [&](const Held& tensor, const Tensor& values, const json& expected) {
      std::vector<float> found(static_cast<size_t>(values.numel()));
      operations.download(values, found);
      CAPTURE(device, rule, each.at("options").dump(), tensor.tensor.name);
      CHECK(relative_error(std::vector<double>(found.begin(), found.end()),
                           expected.get<std::vector<double>>()) < tolerance_of(rule));
    };
    for (int64_t step = 1; step <= steps; ++step) {
      std::vector<MatrixShare> shares;
      for (Held& tensor : held) shares.push_back(tensor.share(operations, step));
      optimizer->update_matrices(operations, shares, {},
                                 {rate_of(step, steps, each.at("lr").get<double>()), step, {}, {}});
      for (const Held& tensor : held) {
        const json& expected = each.at("tensors").at(tensor.tensor.name);
        if (step == 1) check(tensor, tensor.ranges[0].weight, expected.at("first"));
        if (step < steps) continue;
        check(tensor, tensor.ranges[0].weight, expected.at("last"));
        size_t of_elements = 0, of_lines = 0;
        for (const StateDeclaration& state : tensor.declared)
          check(tensor,
                state.shape == StateShape::elements ? tensor.ranges[0].states[of_elements++]
                                                    : tensor.line_states[of_lines++],
                expected.at("states").at(state.name));
      }
    }
  }
  for (const std::string& rule : rules_of_matrices()) CHECK(tested.count(rule) == 1);
}

namespace {

// What one rank has of the three tensors.
using Cut = std::vector<std::vector<Held::Part>>;
constexpr int64_t rows = 13, columns = 10, length = 21;
const std::vector<std::pair<std::string, Shape>>& tensors() {
  static const std::vector<std::pair<std::string, Shape>> all{
      {"matrix", {rows, columns}}, {"other", {columns, rows}}, {"v", {length}}};
  return all;
}

struct Result {
  std::vector<std::vector<float>> weights;      // [tensors]
  std::vector<std::vector<float>> line_states;  // of all tensors
  bool operator==(const Result&) const = default;
};

std::shared_ptr<MeteredGroup> metered(std::shared_ptr<ProcessGroup> group) {
  return std::make_shared<MeteredGroup>(std::move(group));
}

using Sent = std::map<std::string, int64_t>;  // bytes by operation, of all ranks together
void add(const MeteredGroup& group, Sent& sent) {
  for (const auto& [operation, traffic] : group.traffic()) sent[operation] += traffic.bytes;
}

constexpr int64_t steps = 4;

// Some steps of all ranks, each on a thread: `tensor_size` ranks of every data rank.
Result run(const OptionValues& options, const std::string& rule, const std::vector<Cut>& cuts,
           int tensor_size, Sent* sent = nullptr) {
  const auto size = static_cast<int>(cuts.size());
  const int data_size = size / tensor_size;
  std::vector<std::vector<std::shared_ptr<ProcessGroup>>> tensor_groups, data_groups;
  for (int i = 0; i < data_size; ++i) tensor_groups.push_back(make_in_process_group(tensor_size));
  for (int i = 0; i < tensor_size; ++i) data_groups.push_back(make_in_process_group(data_size));
  Result result;
  for (const auto& [name, shape] : tensors()) result.weights.emplace_back(static_cast<size_t>(shape.numel()));
  std::mutex collecting;
  const auto rank = [&](int which) {
    const auto owner = make_operations("cpu");
    Operations& operations = *owner.operations;
    const auto optimizer = make_optimizer(rule, options);
    const int data = which / tensor_size, tensor = which % tensor_size;
    const auto data_group = metered(data_groups[static_cast<size_t>(tensor)][static_cast<size_t>(data)]);
    const auto tensor_group = metered(tensor_groups[static_cast<size_t>(data)][static_cast<size_t>(tensor)]);
    CollectiveQueue queue(data_group, 4, CollectiveQueue::Undriven());
    MatrixGroups groups;
    if (tensor_size > 1) groups.tensor = tensor_group.get();
    if (data_size > 1) {
      groups.data = &queue;
      groups.data_cut = true;
    }
    std::vector<Held> held;
    for (size_t i = 0; i < tensors().size(); ++i)
      held.emplace_back(operations, *optimizer, tensors()[i].first, tensors()[i].second,
                        cuts[static_cast<size_t>(which)][i]);
    for (int64_t step = 1; step <= steps; ++step) {
      std::vector<MatrixShare> shares;
      for (size_t i = 0; i < held.size(); ++i) {
        shares.push_back(held[i].share(operations, step));
        shares.back().parts = [&, i](int of_data, int of_tensor) {
          return Held::counted(cuts[static_cast<size_t>(of_data * tensor_size + of_tensor)][i]);
        };
      }
      optimizer->update_matrices(operations, shares, groups, {0.01, step, {}, {}});
    }
    const std::lock_guard lock(collecting);
    if (sent != nullptr)
      for (const auto& group : {data_group, tensor_group}) add(*group, *sent);
    std::vector<std::vector<float>> lines;
    for (size_t i = 0; i < held.size(); ++i) {
      held[i].collect(operations, weight_of, result.weights[i]);
      for (const Tensor& state : held[i].line_states) {
        lines.emplace_back(static_cast<size_t>(state.numel()));
        operations.download(state, lines.back());
      }
    }
    if (result.line_states.empty()) result.line_states = lines;
    CHECK(result.line_states == lines);  // every rank has the same
  };
  std::vector<std::thread> threads;
  for (int which = 0; which < size; ++which) threads.emplace_back(rank, which);
  for (std::thread& thread : threads) thread.join();
  return result;
}

}  // namespace

namespace {

struct Cuts {
  Cut all;
  std::vector<Cut> by_tensor, by_data, both;
};

Cuts cuts_of_tensors() {
  const std::vector<Held::Part> whole{{0, 0, rows, columns}}, whole_other{{0, 0, columns, rows}},
      vector{{0, 0, 1, length}};
  const Cut all{whole, whole_other, vector};
  // Two ranks by rows and by columns; one of them stands for both in the vector.
  const std::vector<Cut> by_tensor{
      {{{0, 0, 5, columns}}, {{0, 0, columns, 6}}, vector},
      {{{5, 0, rows - 5, columns}}, {{0, 6, columns, rows - 6}}, {{0, 0, 1, length, false, false}}}};
  // Two ranks by flat ranges, the first of which has nothing of the vector.
  const std::vector<Cut> by_data{{{{0, 0, 7, columns}, {7, 0, 1, 4}}, whole_other, {}},
                                 {{{7, 4, 1, columns - 4}, {8, 0, rows - 8, columns}}, {}, vector}};
  // Two by two, of which one matrix is stored transposed.
  const std::vector<Cut> both{
      {{{0, 0, 5, 3}}, {{0, 0, 4, 6, true}}, vector},
      {{{5, 0, rows - 5, 3}}, {{0, 6, 4, rows - 6, true}}, {{0, 0, 1, length, false, false}}},
      {{{0, 3, 5, columns - 3}}, {{4, 0, columns - 4, 6, true}}, {}},
      {{{5, 3, rows - 5, columns - 3}}, {{4, 6, columns - 4, rows - 6, true}}, {}}};
  return {all, by_tensor, by_data, both};
}

}  // namespace

TEST_CASE("a rule that takes matrices gives the same bits however ranks cut them", "[matrix]") {
  const auto [all, by_tensor, by_data, both] = cuts_of_tensors();
  for (const std::string& rule : rules_of_matrices()) {
    OptionValues options{{"weight_decay", 0.1}};
    if (rule == "adafactor") options.set("beta1", 0.9);
    CAPTURE(rule);
    const Result expected = run(options, rule, {all}, 1);
    CHECK(run(options, rule, by_tensor, 2) == expected);
    CHECK(run(options, rule, by_data, 1) == expected);
    const Result transposed = run(options, rule, both, 2);
    // Directions of a transposed matrix are multiplied in the other order.
    for (size_t i = 0; i < expected.weights.size(); ++i)
      CHECK(relative_error(std::vector<double>(transposed.weights[i].begin(), transposed.weights[i].end()),
                           std::vector<double>(expected.weights[i].begin(), expected.weights[i].end())) <
            (i == 1 ? 1e-6 : 1e-30));
    CHECK(transposed.line_states == expected.line_states);
  }
}

TEST_CASE("the parts of a matrix are sent to the rank that makes it orthogonal, and nowhere else",
          "[matrix]") {
  const Cuts cuts = cuts_of_tensors();
  // Of float32 numbers in all steps. A sum over n ranks would send 2 (n - 1) times the 260 of both matrices.
  const auto sent_in = [&](const std::vector<Cut>& by, int tensor_size) {
    Sent sent;
    run({}, "muon", by, tensor_size, &sent);
    CHECK(sent.count("all_reduce_sum") == 0);
    return sent["send"] / (4 * steps);
  };
  CHECK(sent_in({cuts.all}, 1) == 0);
  CHECK(sent_in(cuts.by_tensor, 2) == 8 * 10 + 10 * 6);
  CHECK(sent_in(cuts.by_data, 1) == 6 + 5 * 10 + 130);
  // What other data ranks have goes to the rank of the same tensor shard first, and then on with its own.
  const int64_t over_data = 5 * 7 + 8 * 7 + 6 * 6 + 6 * 7, over_tensor = 8 * 10 + 10 * 6;
  CHECK(sent_in(cuts.both, 2) == over_data + over_tensor);
}
