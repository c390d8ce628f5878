// An operation table that forwards every call to another table, and may do something around those that
// compute.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "kernels/operation_list.hpp"
#include "kernels/operations.hpp"

namespace collie {

class ForwardingOperations : public Operations {
 public:
  explicit ForwardingOperations(std::unique_ptr<Operations> inner)
      : Operations(inner->dtype(), inner->account()), inner_(std::move(inner)) {}

  using Operations::empty;
#define COLLIE_FORWARD(result, name, parameters, arguments) \
  result name parameters override {                         \
    const Around around(*this);                             \
    return inner_->name arguments;                          \
  }
  COLLIE_COMPUTING_OPERATIONS(COLLIE_FORWARD)
#undef COLLIE_FORWARD
#define COLLIE_FORWARD(result, name, parameters, arguments) \
  result name parameters override {                         \
    return inner_->name arguments;                          \
  }
  COLLIE_OTHER_OPERATIONS(COLLIE_FORWARD)
#undef COLLIE_FORWARD
#define COLLIE_FORWARD(result, name, parameters, arguments) \
  result name parameters const override {                   \
    return inner_->name arguments;                          \
  }
  COLLIE_CONSTANT_OPERATIONS(COLLIE_FORWARD)
#undef COLLIE_FORWARD

 protected:
  // These are called around each computing operation, also one that throws. Calls are not nested.
  virtual void begin_operation() {}
  virtual void end_operation() {}

 private:
  class Around {
   public:
    explicit Around(ForwardingOperations& table) : table_(table) { table_.begin_operation(); }
    ~Around() { table_.end_operation(); }

   private:
    ForwardingOperations& table_;
  };

  std::unique_ptr<Operations> inner_;
};

}  // namespace collie
