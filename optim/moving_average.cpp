#include "optim/moving_average.hpp"

#include "kernels/rules/scalar_formulas.hpp"

namespace collie {
namespace {

using Formula = scalar::MovingAverage;

class AveragedOptimizer final : public Optimizer {
 public:
  AveragedOptimizer(std::unique_ptr<Optimizer> of, double decay) : of_(std::move(of)), decay_(decay) {}

  std::vector<StateDeclaration> states(const NamedTensor& tensor) const override {
    std::vector<StateDeclaration> all = of_->states(tensor);
    all.push_back({.name = moving_average_state, .starts_as_weight = true, .wide = true});
    return all;
  }
  std::optional<WeightAverage> average() const override { return WeightAverage{moving_average_state, 0, 1}; }

  bool takes_matrices() const override { return of_->takes_matrices(); }
  int64_t estimate_interval() const override { return of_->estimate_interval(); }
  bool updates_in_parts() const override { return of_->updates_in_parts(); }
  bool rounds_stochastically() const override { return of_->rounds_stochastically(); }
  bool takes_narrow_states() const override { return of_->takes_narrow_states(); }
  UpdateMemory memory() const override { return of_->memory(); }
  void remember(UpdateMemory& memory, double lr, int64_t step) const override {
    of_->remember(memory, lr, step);
  }

  void update(Operations& operations, std::span<ParameterRange> ranges,
              const UpdateArguments& arguments) override {
    std::vector<UpdateTensors> averages;
    for (ParameterRange& range : ranges) averages.push_back(taken_from(range));
    of_->update(operations, ranges, arguments);
    average(operations, averages, arguments);
  }

  void update_matrices(Operations& operations, std::span<MatrixShare> shares, const MatrixGroups& groups,
                       const UpdateArguments& arguments) override {
    std::vector<UpdateTensors> averages;
    for (MatrixShare& share : shares)
      for (MatrixRange& range : share.ranges) averages.push_back(taken_from(range));
    of_->update_matrices(operations, shares, groups, arguments);
    average(operations, averages, arguments);
  }

  void estimate(Operations& operations, std::span<ParameterRange> ranges,
                const EstimateArguments& arguments) override {
    for (ParameterRange& range : ranges) taken_from(range);
    of_->estimate(operations, ranges, arguments);
  }

 private:
  // The range's last state, without which it goes to the other optimizer.
  template <class Range>
  static UpdateTensors taken_from(Range& range) {
    const Tensor state = range.states.back();
    range.states.pop_back();
    return {range.weight, range.gradient, {state}, {}, range.first_index};
  }

  void average(Operations& operations, std::span<UpdateTensors> averages,
               const UpdateArguments& arguments) const {
    UpdateFactors factors{};
    factors[Formula::decay] = arguments.step == 1 ? 0 : decay_;
    factors[Formula::rest] = 1 - factors[Formula::decay];
    operations.update(averages, {scalar::index_of<Formula>, factors, arguments.gradient_factor, {}});
  }

  std::unique_ptr<Optimizer> of_;
  double decay_;
};

}  // namespace

std::unique_ptr<Optimizer> with_moving_average(std::unique_ptr<Optimizer> of, double decay) {
  COLLIE_ASSERT(!of->average(), "an average of weights that are averages already");
  return std::make_unique<AveragedOptimizer>(std::move(of), decay);
}

}  // namespace collie
