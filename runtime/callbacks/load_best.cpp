// final/ has the best checkpoint's weights (checkpoint.keep_best), and not the last step's.
#include "runtime/callbacks/callbacks.hpp"

namespace collie {

namespace {

class LoadBest final : public Callback {
 public:
  void on_train_begin() override { run().end_with_best(); }
};

}  // namespace

std::unique_ptr<Callback> make_load_best(const OptionValues&) {
  return std::make_unique<LoadBest>();
}

}  // namespace collie
