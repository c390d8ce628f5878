// The end of the trainer's requests at who asks. A requester has one request at a time on its way.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "runtime/messages.hpp"

namespace collie {

class Asker {
 public:
  Asker(RunTag tag, std::string name) : tag_(tag), request_{std::move(name), 0} {}

  // A request for a program of `batch`. The one before must have been answered.
  ProgramRequest ask(const ProgramKind& kind, std::shared_ptr<const StepBatch> batch);
  // Whether the reply answers the last request. It is stale otherwise: of another run, or seen before.
  bool accept(const ProgramReply& reply);

 private:
  RunTag tag_;
  Request request_;
  bool waits_ = false;
};

}  // namespace collie
