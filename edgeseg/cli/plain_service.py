"""A Keras model behind FastAPI as a tutorial writes it: ``edgeseg benchmark-serve`` measures it beside ours.

``python -m edgeseg.cli.plain_service MODEL.keras PORT THREADS``. An async function takes an upload, decodes
it with OpenCV, calls ``Model.predict`` on it, takes the argmax and gives a PNG. Nothing is bounded.
"""

# Without the annotations of the future: FastAPI has to see those of a function inside a function.

import sys
from pathlib import Path


def main(model: str, port: str, threads: str) -> None:
    """Answer ``POST /predict`` on loopback until the process is ended."""
    import uvicorn
    from fastapi import FastAPI, Response, UploadFile

    from edgeseg.cli.training_half import training_half

    with training_half("a Keras model behind HTTP", as_others=True):
        from edgeseg.training.networks import predicting
    import cv2
    import numpy as np

    network = predicting(Path(model), int(threads))
    height, width = network.input_shape[1:3]
    app = FastAPI()

    @app.get("/live")
    async def live() -> str:
        return "live"

    @app.post("/predict")
    async def predict(file: UploadFile) -> Response:
        data = np.frombuffer(await file.read(), np.uint8)
        picture = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
        resized = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), (width, height))
        logits = network.call(resized[np.newaxis])
        mask = np.argmax(logits[0], axis=-1).astype(np.uint8)
        mask = cv2.resize(mask, picture.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        return Response(cv2.imencode(".png", mask)[1].tobytes(), media_type="image/png")

    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    main(*sys.argv[1:])
