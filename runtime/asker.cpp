#include "runtime/asker.hpp"

#include "base/error.hpp"

namespace collie {

ProgramRequest Asker::ask(const ProgramKind& kind, std::shared_ptr<const StepBatch> batch) {
  COLLIE_ASSERT(!waits_, "{} asks for a program before its last request was answered", request_.requester);
  waits_ = true;
  ++request_.number;
  ProgramRequest request;
  request.tag = tag_;
  request.request = request_;
  request.kind = kind;
  request.batch = std::move(batch);
  return request;
}

bool Asker::accept(const ProgramReply& reply) {
  if (!waits_ || !(reply.tag == tag_) || !(reply.request == request_)) return false;
  waits_ = false;
  return true;
}

}  // namespace collie
