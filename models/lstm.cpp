#include "models/lstm.hpp"

#include "models/access.hpp"

namespace collie {
namespace {

// The rows of a sequence in the order in which a direction reads them.
struct StepOrder {
  int64_t steps;
  bool backwards;

  int64_t row(int64_t step) const { return backwards ? steps - 1 - step : step; }
};

Tensor row_of(const Tensor& x, int64_t row) {
  return x.rows(row, row + 1);
}

// Part `which` of i, f, g, o, of one step or of all.
Tensor gate(const Tensor& gates, int64_t which) {
  const int64_t hidden = gates.dim(1) / 4;
  return gates.columns(which * hidden, (which + 1) * hidden);
}

// c = sigmoid(f) · c of the step before + sigmoid(i) · tanh(g); h = sigmoid(o) · tanh(c).
void advance(Operations& operations, LstmDirectionStash& stash, int64_t row, int64_t row_before) {
  const Tensor gates = row_of(stash.gates, row);
  Tensor g = row_of(stash.tanh_g, row), c = row_of(stash.cells, row), tanh_c = row_of(stash.tanh_c, row),
         h = row_of(stash.h, row);
  operations.activate(Activation::tanh, gate(gates, 2), g);
  operations.gated(Activation::sigmoid, gate(gates, 0), g, c);
  if (row_before >= 0) {
    Tensor kept = operations.empty(c.shape(), Category::workspace);
    operations.gated(Activation::sigmoid, gate(gates, 1), row_of(stash.cells, row_before), kept);
    operations.add(c, kept, c);
  }
  operations.activate(Activation::tanh, c, tanh_c);
  operations.gated(Activation::sigmoid, gate(gates, 3), tanh_c, h);
}

void run_direction(LayerContext& context, const LstmIds& ids, const Tensor& x, bool backwards,
                   LstmDirectionStash& stash) {
  Operations& operations = context.operations;
  const AcquiredWeight of_input(context, ids.input), of_hidden(context, ids.hidden),
      bias(context, ids.input_bias), more_bias(context, ids.hidden_bias);
  const int64_t steps = x.dim(0), hidden = (*of_hidden).dim(1);
  stash.gates = operations.empty({steps, 4 * hidden}, Category::activations);
  for (Tensor* each : {&stash.tanh_g, &stash.cells, &stash.tanh_c, &stash.h})
    *each = operations.empty({steps, hidden}, Category::activations);
  operations.gemm_add_row(GemmForm::nt, x, *of_input, *bias, stash.gates);
  operations.add_row(stash.gates, *more_bias);
  const StepOrder order{steps, backwards};
  for (int64_t step = 0; step < steps; ++step) {
    const int64_t row = order.row(step), before = step == 0 ? -1 : order.row(step - 1);
    Tensor gates = row_of(stash.gates, row);
    if (before >= 0) operations.gemm(GemmForm::nt, row_of(stash.h, before), *of_hidden, gates, true);
    advance(operations, stash, row, before);
  }
}

// dh, dc [1, hidden]: of what the step gives, and of its cell by the step after. dc becomes that of the cell
// before.
void step_back(Operations& operations, LstmDirectionStash& stash, int64_t row, int64_t row_before,
               const Tensor& dh, Tensor& dc) {
  const Tensor gates = row_of(stash.gates, row), d_gates = row_of(stash.d_gates, row);
  Tensor d_i = gate(d_gates, 0), d_f = gate(d_gates, 1), d_g = gate(d_gates, 2), d_o = gate(d_gates, 3);
  Tensor share = operations.empty(dh.shape(), Category::workspace);
  operations.gated_backward(Activation::sigmoid, gate(gates, 3), row_of(stash.tanh_c, row), dh, d_o, share);
  operations.activate_backward(Activation::tanh, row_of(stash.cells, row), share, share);
  operations.add(dc, share, dc);
  operations.gated_backward(Activation::sigmoid, gate(gates, 0), row_of(stash.tanh_g, row), dc, d_i, share);
  operations.activate_backward(Activation::tanh, gate(gates, 2), share, d_g);
  if (row_before < 0) return operations.fill(d_f, 0);
  operations.gated_backward(Activation::sigmoid, gate(gates, 1), row_of(stash.cells, row_before), dc, d_f,
                            share);
  operations.copy(share, dc);
}

// dy [steps, hidden]
void run_direction_back(LayerContext& context, const LstmIds& ids, const Tensor& dy, bool backwards,
                        LstmDirectionStash& stash) {
  Operations& operations = context.operations;
  const AcquiredWeight of_hidden(context, ids.hidden);
  const int64_t steps = dy.dim(0), hidden = dy.dim(1);
  stash.d_gates = operations.empty({steps, 4 * hidden}, Category::activations);
  Tensor dh = operations.empty({1, hidden}, Category::workspace),
         dc = operations.empty({1, hidden}, Category::workspace);
  operations.fill(dc, 0);
  const StepOrder order{steps, backwards};
  for (int64_t step = steps; step-- > 0;) {
    const int64_t row = order.row(step), before = step == 0 ? -1 : order.row(step - 1);
    operations.copy(row_of(dy, row), dh);
    if (step + 1 < steps)
      operations.gemm(GemmForm::nn, row_of(stash.d_gates, order.row(step + 1)), *of_hidden, dh, true);
    step_back(operations, stash, row, before, dh, dc);
  }
}

void contribute_direction(LayerContext& context, const LstmIds& ids, const Tensor& x, bool backwards,
                          const LstmDirectionStash& stash) {
  Operations& operations = context.operations;
  const Tensor& d_gates = stash.d_gates;
  const int64_t steps = x.dim(0);
  for (const ParameterId bias : {ids.hidden_bias, ids.input_bias})
    contribute(context, bias, [&](Tensor& gradient, bool accumulate) {
      operations.column_sum(d_gates, gradient, accumulate);
    });
  // A step's gates read what the step before gave.
  contribute(context, ids.hidden, [&](Tensor& gradient, bool accumulate) {
    if (steps > 1)
      return operations.gemm(GemmForm::tn, d_gates.rows(backwards ? 0 : 1, backwards ? steps - 1 : steps),
                             stash.h.rows(backwards ? 1 : 0, backwards ? steps : steps - 1), gradient,
                             accumulate);
    if (!accumulate) operations.fill(gradient, 0);
  });
  contribute(context, ids.input, [&](Tensor& gradient, bool accumulate) {
    operations.gemm(GemmForm::tn, d_gates, x, gradient, accumulate);
  });
}

}  // namespace

Tensor LstmLayer::forward(LayerContext& context, const Tensor& x, LstmStash& stash) const {
  stash.x = x;
  for (size_t i = 0; i < 2; ++i) run_direction(context, ids_[i], x, i == 1, stash.directions[i]);
  const int64_t hidden = stash.directions[0].h.dim(1);
  Tensor y = context.operations.empty({x.dim(0), 2 * hidden}, Category::activations);
  for (int64_t i = 0; i < 2; ++i) {
    Tensor part = y.columns(i * hidden, (i + 1) * hidden);
    context.operations.copy(stash.directions[static_cast<size_t>(i)].h, part);
  }
  return y;
}

Tensor LstmLayer::backward_input(LayerContext& context, const Tensor& dy, LstmStash& stash) const {
  const int64_t hidden = dy.dim(1) / 2;
  Tensor dx = context.operations.empty(stash.x.shape(), Category::activations);
  for (int64_t i = 0; i < 2; ++i) {
    LstmDirectionStash& direction = stash.directions[static_cast<size_t>(i)];
    const LstmIds& ids = ids_[static_cast<size_t>(i)];
    run_direction_back(context, ids, dy.columns(i * hidden, (i + 1) * hidden), i == 1, direction);
    const AcquiredWeight of_input(context, ids.input);
    context.operations.gemm(GemmForm::nn, direction.d_gates, *of_input, dx, i > 0);
  }
  return dx;
}

void LstmLayer::backward_weight(LayerContext& context, const LstmStash& stash) const {
  for (size_t i = 2; i-- > 0;) contribute_direction(context, ids_[i], stash.x, i == 1, stash.directions[i]);
}

}  // namespace collie
