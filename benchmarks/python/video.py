"""The other side of video, PyAV with one decoder per file kept open. Usage: video.py lerobot|tuned FOLDER

lerobot: as LeRobot uses it, PyAV's default threads, seeking one tick before the frame, every decoded frame converted.
tuned: as fast as this library gets here, one thread, seeking to the frame itself, only the wanted frame converted.
"""

import json
import os
import sys
import time

import av

TUNED, FOLDER = sys.argv[1] == "tuned", sys.argv[2]
REQUESTS = 240
BATCH = 8


class Video:
    def __init__(self, path):
        self.container = av.open(path)
        self.stream = self.container.streams.video[0]
        if TUNED:
            self.stream.codec_context.thread_count = 1
        self.frames = self.stream.frames
        self.fps = float(self.stream.average_rate)

    def frame_at(self, time_s):
        """Seeks to the key frame before, decodes forward until the time is reached, takes the nearest."""
        base = float(self.stream.time_base)
        self.container.seek(round(time_s / base) - (0 if TUNED else 1), stream=self.stream)
        loaded = []
        for frame in self.container.decode(self.stream):
            pixels = None if TUNED else frame.to_ndarray(format="rgb24")
            loaded.append((frame, pixels))
            if frame.pts * base >= time_s - 1e-6:
                break
        frame, pixels = min(loaded, key=lambda each: abs(each[0].pts * base - time_s))
        assert abs(frame.pts * base - time_s) <= 1e-4
        return frame.to_ndarray(format="rgb24") if TUNED else pixels


files = sorted(os.listdir(FOLDER))
videos = [Video(os.path.join(FOLDER, file)) for file in files]
state = 1


def draw(n):
    global state
    state = state * 48271 % 2147483647
    return state % n


def random(batch):
    start = time.perf_counter()
    for _ in range(0, REQUESTS, batch):
        video = videos[draw(len(videos))]
        for t in [draw(video.frames) / video.fps for _ in range(batch)]:
            video.frame_at(t)  # one by one: decoding all that lies between distant times would be slower still
    return REQUESTS / (time.perf_counter() - start)


def sequential():
    """Reading on without seeking, as PyAV can."""
    container = av.open(os.path.join(FOLDER, files[0]))
    stream = container.streams.video[0]
    if TUNED:
        stream.codec_context.thread_count = 1
    start = time.perf_counter()
    count = 0
    for frame in container.decode(stream):
        frame.to_ndarray(format="rgb24")
        count += 1
    return count / (time.perf_counter() - start)


random(1)
figures = {"random": random(1), f"random_{BATCH}": random(BATCH), "sequential": sequential()}
print(json.dumps({**figures, "pyav": av.__version__}))
