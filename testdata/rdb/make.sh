#!/bin/sh
# Makes the dumps in this directory with the redis-server and RQ of this machine
# (made with 7.0.15 and RQ 1.13). Run it again only to add one: the tests compare
# against what a server of today says, but times and random ids will change.
#
#   all.rdb         every type and encoding that 7.0 writes, 3 databases, expiries, functions, stream groups
#   nocompress.rdb  the same with rdbcompression no
#   nochecksum.rdb  the same with rdbchecksum no
#   repl.rdb        the same after a replica has attached: aux repl-id, repl-offset
#   plain.rdb       a list whose long elements are nodes of their own (quicklist container 1)
#   lru.rdb         maxmemory-policy allkeys-lru: idle times before keys
#   lfu.rdb         maxmemory-policy allkeys-lfu: frequencies before keys
#   empty.rdb       no key at all
#   rq.rdb          RQ 1.13: queued, finished, failed, scheduled, deferred and canceled jobs
set -eu
out=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d /tmp/rqv.XXXXXX)
sock=$dir/s
redis-server --port 0 --unixsocket "$sock" --dir "$dir" --save "" --enable-debug-command yes \
	--enable-module-command no --daemonize no --logfile "$dir/log" &
pid=$!
trap 'kill $pid 2>/dev/null; wait $pid 2>/dev/null || :; rm -rf "$dir"' EXIT
cli() { redis-cli -s "$sock" "$@" >/dev/null; }
until redis-cli -s "$sock" ping >/dev/null 2>&1; do :; done
keep() {
	rm -f "$dir/dump.rdb"
	until redis-cli -s "$sock" save | grep -q OK; do :; done
	cp "$dir/dump.rdb" "$out/$1"
}

keep empty.rdb

words=$(seq 1 60 | sed 's/.*/the quick brown fox & /' | tr -d '\n')
cli set int8 -128
cli set int16 32000
cli set int32 -2000000000
cli set int64 9223372036854775807
cli set text hello
cli set empty ''
cli set 12345 'integer key'
cli set long "$words"
cli set "key:$words" 'compressed key'
printf 'set bin "\\x00\\xff\\r\\n\\x80"\nset "k\\x00\\xfe" v\n' | redis-cli -s "$sock" >/dev/null
head -c 4000 /dev/urandom | redis-cli -s "$sock" -x set random >/dev/null
cli rpush list:small a 1 -7 70000 "$words" 9223372036854775807 '' 4095 -4096 8388607
for i in $(seq 1 3); do cli rpush list:long "$(head -c 9000 /dev/urandom | base64 -w0 | head -c 9000)"; cli rpush list:long $i; done
seq 1 1500 | sed 's/.*/rpush list:big element-&-&/' | redis-cli -s "$sock" >/dev/null
cli sadd set:int16 1 2 -3
cli sadd set:int32 1 70000 -70000
cli sadd set:int64 1 9223372036854775807 -9223372036854775808
cli sadd set:text a b 3 "$words"
seq 1 600 | sed 's/.*/sadd set:big member&/' | redis-cli -s "$sock" >/dev/null
cli zadd zset:small 1 a 2.5 b -inf c +inf d 1e300 "$words" 3 77
seq 1 300 | sed 's/.*/zadd zset:big &.25 member&/' | redis-cli -s "$sock" >/dev/null
cli zadd zset:big inf top -inf bottom
cli hset hash:small f v n 12 "" "" neg -1
cli hset hash:long f "$words" n 42
seq 1 300 | sed 's/.*/hset hash:big field& value-&-&/' | redis-cli -s "$sock" >/dev/null
cli pexpireat text 4102444800123
cli pexpireat hash:small 4102444800456
cli xadd stream:one 1-1 type x created_at 'y' return_value 'z'
seq 1 250 | sed 's/.*/xadd stream:big &-0 a & b text& a again/' | redis-cli -s "$sock" >/dev/null
cli xadd stream:big 1000-5 other 1 fields -70000 here "$words"
cli xdel stream:big 250-0 3-0 100-0
cli xgroup create stream:big g1 0
cli xgroup create stream:big g2 '100-0'
cli xgroup create stream:big idle '$'
cli xgroup createconsumer stream:big idle nobody
cli xreadgroup group g1 alice count 5 streams stream:big '>'
cli xreadgroup group g1 bob count 3 streams stream:big '>'
cli xreadgroup group g2 alice count 2 streams stream:big '>'
cli xack stream:big g1 1-0
cli xadd stream:empty 5-5 a b
cli xdel stream:empty 5-5
cli geoadd geo 13.361389 38.115556 Palermo
cli pfadd hll a b c d
cli setbit bits 4000 1
cli function load '#!lua name=lib1
redis.register_function("f1", function(keys, args) return args[1] end)'
cli function load '#!lua name=lib2
redis.register_function("f2", function(keys, args) return 2 end)'
cli -n 3 set other-db 1
cli -n 3 rpush l a b c
cli -n 15 hset h a b
cli -n 15 pexpireat h 4102444800789
keep all.rdb
cli config set rdbcompression no
keep nocompress.rdb
cli config set rdbcompression yes
redis-cli -s "$sock" --rdb "$dir/sync.rdb" >/dev/null 2>&1
keep repl.rdb
cli flushall
cli function flush

cli debug quicklist-packed-threshold 200b
for i in 1 2 3; do cli rpush list:plain $i "$(head -c 300 /dev/urandom | base64 -w0)" "$i $words" tail; done
cli debug quicklist-packed-threshold 0
keep plain.rdb
cli flushall

cli config set maxmemory-policy allkeys-lru
cli set a 1
cli hset h f v
cli expire h 100000000
cli rpush l 1 2 3
keep lru.rdb
cli config set maxmemory-policy allkeys-lfu
cli set b 1
cli get b
cli hset h2 f v
keep lfu.rdb
cli config set maxmemory-policy noeviction
cli flushall

cat > "$dir/tasks.py" <<'PY'
def good(*a, **k): return {"a": list(a), "k": k}
def bad(*a): raise ValueError("no " * 40)
PY
cat > "$dir/fill.py" <<'PY'
import sys, datetime
sys.path.insert(0, sys.argv[2])
from redis import Redis
from rq import Queue, SimpleWorker, Retry
import tasks
r = Redis(unix_socket_path=sys.argv[1])
q, low, dead = Queue("default", connection=r), Queue("low", connection=r), Queue("other", connection=r)
for i in range(6): q.enqueue(tasks.good, i, text="x" * (10 + 60 * i))
for i in range(3): q.enqueue(tasks.bad, i)
q.enqueue(tasks.bad, 9, retry=Retry(max=3, interval=[10, 60, 600]))
SimpleWorker([q], connection=r).work(burst=True)
first = low.enqueue(tasks.good, "parent")
low.enqueue(tasks.good, "child", depends_on=first, meta={"who": "me"}, description="ein Kind \u00e4\u00f6\u00fc")
for i in range(25): low.enqueue(tasks.good, i, "payload " * (i * 5), result_ttl=500, ttl=3600)
dead.enqueue(tasks.good, 1).cancel()
q.enqueue_in(datetime.timedelta(days=1), tasks.good, "later")
q.enqueue_at(datetime.datetime(2030, 1, 1), tasks.good, "much later")
PY
/usr/bin/python3 "$dir/fill.py" "$sock" "$dir" >/dev/null 2>&1
keep rq.rdb
redis-cli -s "$sock" shutdown nosave >/dev/null 2>&1 || :
wait $pid || :

# rdbchecksum cannot be changed while a server runs.
cp "$out/all.rdb" "$dir/dump.rdb"
redis-server --port 0 --unixsocket "$sock" --dir "$dir" --save "" --rdbchecksum no --logfile "$dir/log2" &
pid=$!
until redis-cli -s "$sock" ping 2>/dev/null | grep -q PONG; do :; done
keep nochecksum.rdb
redis-cli -s "$sock" shutdown nosave >/dev/null 2>&1 || :
ls -l "$out"
